"""The judges of the evaluation: networks (``networks``), their training (``tasks``) and the trained ones (``weights``)."""

from .networks import WEIGHTS, AudioJudge, ImageJudge, JudgeOutput, Judges, load_judges

__all__ = ["WEIGHTS", "AudioJudge", "ImageJudge", "JudgeOutput", "Judges", "load_judges"]
