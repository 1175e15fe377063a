#!/bin/sh
# A whole small CoDi of captions, pictures and sounds from a prepared folder: sh recipes/own/train.sh PREPARED RUN MODEL
# A run that was stopped goes on where it was when the same command is given again.
set -e
data=$1 run=$2 model=$3 here=$(dirname "$0")
train() {
    for stage; do
        [ -f "$run/training/$stage/summary.json" ] && continue
        resume=
        [ -d "$run/training/$stage/checkpoint" ] && resume=--resume
        opencodi train "$here/$stage.yaml" --data "$data" --output "$run" $resume
    done
}
train image_autoencoder text_autoencoder audio_autoencoder audio_vocoder bridging_image bridging_audio
opencodi data encode "$data" --model "$run"
train image_diffuser audio_diffuser text_diffuser alignment_text_image alignment_text_audio
python -m opencodi.training.assemble "$run" "$model" --only text,image,audio --sampling "$here/sampling.yaml"
