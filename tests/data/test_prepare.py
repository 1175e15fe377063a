"""Anyone's samples, in every form they come in, become one folder; what is wrong with one is said, and the others stay."""

import json
import tarfile
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path
from threading import Thread

import numpy as np
import pytest
from PIL import Image

from opencodi.cli import main
from opencodi.data.prepare import prepare
from opencodi.data.prepared import PreparedFolder
from opencodi.data.sources import open_source
from opencodi.errors import ArgumentError, CollectionError
from opencodi.media import Audio, Video

from .own import caption, picture, write_samples


def made(source, output, columns=None, **options):
    prepare(open_source(str(source), columns), output, **options)
    return PreparedFolder(output)


def captions(folder):
    return [record["text"] for record in folder.records]


def jpeg(number):
    content = BytesIO()
    picture(number).save(content, "JPEG")
    return content.getvalue()


def write_tar(path, samples):
    with tarfile.open(path, "w") as tar:
        for name, content in samples.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, BytesIO(content))


def run(capsys, *arguments):
    with pytest.raises(SystemExit) as stop:
        main([str(each) for each in arguments])
    told = capsys.readouterr()
    return stop.value.code, told.out, told.err


def test_files_of_the_same_name_are_a_sample(tmp_path):
    folder = made(write_samples(tmp_path / "samples", 3, clips=True), tmp_path / "out")
    assert captions(folder) == [[caption(number)] for number in range(3)]
    assert np.array_equal(np.asarray(folder.media(1, "image")), np.asarray(picture(1)))
    clip, sound = folder.media(1, "video"), folder.media(1, "audio")
    assert isinstance(clip, Video) and len(clip.frames) == 4
    assert isinstance(sound, Audio) and len(sound.samples) == 8000


@pytest.mark.parametrize("kind", ["jsonl", "csv"])
def test_a_metadata_file_names_captions_and_several_media(tmp_path, kind):
    samples = write_samples(tmp_path / "samples", 3)
    rows = [{"file_name": f"{n:02d}.png", "text": f"{n}", "audio": f"{n:02d}.wav"} for n in range(3)]
    lines = [json.dumps(row) for row in rows]
    if kind == "csv":
        lines = ["file_name,text,audio", *(",".join(row.values()) for row in rows)]
    (samples / f"metadata.{kind}").write_text("\n".join(lines))
    folder = made(samples, tmp_path / "out")
    assert captions(folder) == [["0"], ["1"], ["2"]]  # a caption of digits stays text
    assert all(record["image"] and record["audio"] for record in folder.records)


def test_columns_may_have_any_name_and_a_caption_may_be_a_list(tmp_path):
    samples = write_samples(tmp_path / "samples", 2)
    rows = [{"words": ["one", "two "], "where": "00.png"}, {"words": ["three"], "where": "01.png"}]
    (samples / "table.jsonl").write_text("\n".join(map(json.dumps, rows)))
    folder = made(samples / "table.jsonl", tmp_path / "out", {"text": "words", "image": "where"})
    assert captions(folder) == [["one", "two"], ["three"]]


def test_parquet_and_a_saved_dataset_hold_media_within(tmp_path):
    datasets = pytest.importorskip("datasets")
    values = {"image": [picture(0), picture(1)], "caption": ["a", "b"]}
    rows = datasets.Dataset.from_dict(
        values, features=datasets.Features({"image": datasets.Image(), "caption": datasets.Value("string")})
    )
    rows.to_parquet(str(tmp_path / "table.parquet"))
    rows.save_to_disk(str(tmp_path / "saved"))
    datasets.DatasetDict({"train": rows, "validation": rows, "test": rows}).save_to_disk(str(tmp_path / "splits"))
    assert captions(made(tmp_path / "table.parquet", tmp_path / "a")) == [["a"], ["b"]]
    assert captions(made(tmp_path / "saved", tmp_path / "b")) == [["a"], ["b"]]
    assert made(tmp_path / "splits", tmp_path / "c").held == [False, False, True, True]


def test_a_jpg_in_a_tar_is_read_from_a_path_a_pattern_and_an_address(tmp_path):
    samples = {f"{n:03d}.jpg": jpeg(n) for n in range(2)} | {f"{n:03d}.txt": caption(n).encode() for n in range(2)}
    write_tar(tmp_path / "set-0.tar", dict(sorted(samples.items())))
    write_tar(tmp_path / "set-1.tar", {"7.jpeg": jpeg(7), "7.json": json.dumps({"caption": "seven"}).encode()})
    folder = made(tmp_path / "set-{0,1}.tar", tmp_path / "out")
    assert captions(folder) == [[caption(0)], [caption(1)], ["seven"]]
    assert folder.content(2, "image") == jpeg(7)
    handler = partial(SimpleHTTPRequestHandler, directory=str(tmp_path))
    handler.log_message = lambda *_: None
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}"
    assert captions(made(f"{address}/set-1.tar", tmp_path / "far")) == [["seven"]]
    with pytest.raises(CollectionError, match=r"nothing-there\.tar: cannot be read"):
        made(f"{address}/nothing-there.tar", tmp_path / "missing")
    server.shutdown()


def test_a_stopped_call_goes_on_and_makes_the_same_bytes(tmp_path):
    source = write_samples(tmp_path / "samples", 7)
    whole = made(source, tmp_path / "whole", shard_size=3)

    def stop(label, total):
        if label == "samples-000001":
            raise KeyboardInterrupt
        from contextlib import nullcontext

        return nullcontext(lambda: None)

    with pytest.raises(KeyboardInterrupt):
        made(source, tmp_path / "parts", shard_size=3, progress=stop)
    with pytest.raises(CollectionError, match="is not complete"):
        PreparedFolder(tmp_path / "parts")
    first = (tmp_path / "parts" / "samples-000000.tar").stat().st_mtime_ns
    parts = made(source, tmp_path / "parts", shard_size=3)
    assert (tmp_path / "parts" / "samples-000000.tar").stat().st_mtime_ns == first
    for name in whole.shards:
        assert (whole.path / f"{name}.tar").read_bytes() == (parts.path / f"{name}.tar").read_bytes()
    assert not list((tmp_path / "parts").glob(".partial-*"))


BAD = {
    "unreadable": (b"\xff\xd8\xff\xe0 no picture", "words", "image: "),
    "empty": (jpeg(1), "  ", "has no caption"),
    "missing": (None, "words", "there is no such file"),
}


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_sample_is_left_out_counted_and_named(tmp_path, capsys, kind):
    content, text, reason = BAD[kind]
    samples = tmp_path / "samples"
    samples.mkdir()
    rows = []
    for number in range(9):
        (samples / f"{number}.jpg").write_bytes(jpeg(number))
        rows.append({"file_name": f"{number}.jpg", "text": caption(number)})
    if content:
        (samples / "bad.jpg").write_bytes(content)
    rows.insert(4, {"file_name": "bad.jpg", "text": text})
    (samples / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows)))
    code, out, _ = run(capsys, "data", "prepare", samples, "--output", tmp_path / "out", "--max-bad", "10%")
    assert code == 0 and "9 samples" in out and "1 left out" in out and "metadata.jsonl row 5" in out and reason in out
    assert reason in (tmp_path / "out" / "skipped.txt").read_text()
    code, _, err = run(capsys, "data", "prepare", samples, "--output", tmp_path / "strict", "--max-bad", "0.05")
    assert code == 2 and "1 of 10 samples cannot be used" in err and len(err.splitlines()) == 1
    code, *_ = run(capsys, "data", "prepare", samples, "--output", tmp_path / "strict", "--max-bad", "0.1")
    assert code == 0  # what was read already is not read again


def refused(tmp_path: Path):
    """(arguments of ``data prepare``, what the message says) of sources that nothing can be made of."""
    samples = write_samples(tmp_path / "samples", 2)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.doc").write_text("x")
    (tmp_path / "table.csv").write_text("caption,picture\na,00.png\n")
    (tmp_path / "words.csv").write_text("text\na\n")
    (samples / "mixed.jsonl").write_text('{"image": "00.png", "text": "a"}\n{"image": {"x": 1}, "text": 3}\n')
    (tmp_path / "none").mkdir()
    (tmp_path / "cut.tar").write_bytes(b"x" * 700)
    new = tmp_path / "new"
    return [
        ((samples, "--output", tmp_path / "full"), "is not empty"),
        ((tmp_path / "table.csv", "--output", new), "no column is called file_name, image"),
        ((tmp_path / "table.csv", "--output", new, "--columns", "image=file"), "has no column 'file'"),
        ((tmp_path / "table.csv", "--output", new, "--columns", "picture"), "is not FIELD=COLUMN"),
        ((tmp_path / "table.csv", "--output", new, "--columns", "smell=picture"), "'smell' is no field"),
        ((tmp_path / "words.csv", "--output", new), "it has text"),
        ((samples / "mixed.jsonl", "--output", tmp_path / "mixed"), "1 of 2 samples cannot be used"),
        ((tmp_path / "none", "--output", new), "holds no picture, clip, sound or table"),
        ((tmp_path / "cut.tar", "--output", tmp_path / "none"), "cut.tar: cannot be read"),
        ((tmp_path / "nowhere", "--output", new), "there is no such file or folder"),
        ((tmp_path / "nowhere.tar", "--output", new), "there is no such file"),
        (("pipe:touch hacked", "--output", new), "is not read from there"),
        (("ftp://example.org/a.tar", "--output", new), "is not read from there"),
        ((samples, "--output", new, "--max-bad", "many"), "is no share"),
    ]


def test_what_cannot_be_a_source_is_refused_in_one_line(tmp_path, capsys):
    for arguments, reason in refused(tmp_path):
        code, _, err = run(capsys, "data", "prepare", *arguments)
        assert (code, len(err.splitlines())) == (2, 1) and reason in err, (arguments, err)
    assert not (tmp_path / "new").exists() and not list((tmp_path / "none").iterdir()) and not Path("hacked").exists()


def test_another_source_into_the_same_folder_is_refused(tmp_path):
    made(write_samples(tmp_path / "a", 2), tmp_path / "out")
    with pytest.raises(ArgumentError, match="was prepared from other data"):
        made(write_samples(tmp_path / "b", 3), tmp_path / "out")


def test_check_prints_pairs_sizes_and_duplicates_and_writes_a_gallery(tmp_path, capsys):
    samples = write_samples(tmp_path / "samples", 3)
    (samples / "00.txt").write_text("<script>alert(1)</script>")
    (samples / "copy.png").write_bytes((samples / "00.png").read_bytes())
    (samples / "copy.txt").write_text("the same picture")
    folder = made(samples, tmp_path / "out")
    code, out, _ = run(capsys, "data", "check", folder.path, "--gallery", tmp_path / "page.html")
    assert code == 0 and "4 samples" in out and "1 media are in several samples" in out
    assert [line.split()[-1] for line in out.splitlines() if line.startswith(" image + audio")] == ["3"]
    page = (tmp_path / "page.html").read_text()
    assert page.count("<article>") == 4 and page.count("<audio") == 3 and "<script>" not in page
    with (folder.path / "samples-000000.tar").open("r+b") as file:
        file.seek(600)
        file.write(b"other")
    code, _, err = run(capsys, "data", "check", folder.path)
    assert code == 2 and "has other bytes" in err


def test_samples_of_one_concept_are_on_one_side_and_few_samples_hold_out_one(tmp_path):
    samples = write_samples(tmp_path / "samples", 8)
    rows = [{"file_name": f"{n:02d}.png", "text": "x", "concept": f"c{n % 4}"} for n in range(8)]
    (samples / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows)))
    folder = made(samples, tmp_path / "out")
    held = [record["concept"] for record, is_held in zip(folder.records, folder.held) if is_held]
    assert len(held) == 2 and len(set(held)) == 1


def test_a_rotated_picture_with_transparency_is_kept_as_it_was(tmp_path):
    (tmp_path / "samples").mkdir()
    image = Image.new("RGBA", (20, 10), (255, 0, 0, 0))
    image.save(tmp_path / "samples" / "a.png")
    (tmp_path / "samples" / "a.txt").write_text("nothing")
    folder = made(tmp_path / "samples", tmp_path / "out")
    assert folder.content(0, "image") == (tmp_path / "samples" / "a.png").read_bytes()
    assert np.asarray(folder.media(0, "image")).min() == 255
