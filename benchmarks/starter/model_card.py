"""MODEL_CARD.md from what was measured: use, data, licences, classes, scores, speed, failures, and how it was made."""

from __future__ import annotations

from collections.abc import Callable

import tables
from report_text import architecture, learnt_from, photos, picture
from results import Results
from shown_photos import Drawn
from sources import DATA, DATA_LICENCE, MAPPING, WEIGHTS, WEIGHTS_LICENCE

from clothseg.starter import MODEL_NAME

_LOAD = """\
```python
import clothseg

predictor = clothseg.load({argument})
segmentation = predictor.predict("photo.jpg")
segmentation.mask  # (H, W) uint8, class ids, at the photo's size
```

```bash
uv run infer.py photo.jpg{flag}
```"""


def model_card(results: Results, drawn: Drawn) -> str:
    """Return the whole document."""
    sections: tuple[tuple[str, Callable[[Results], str]], ...] = (
        ("What it is", _what),
        ("What it is for, and what not", _use),
        ("Classes", _classes),
        ("Data and first weights", _data),
        ("Scores", _scores),
        ("Speed", _speed),
        ("Where it fails", lambda found: _failures(found, drawn)),
        ("How to load it", _load),
        ("How it was made", _made),
    )
    head = (
        "# Model card: the starter model\n\nMade by a command from what was measured, as "
        "[benchmarks/starter/README.md](benchmarks/starter/README.md) says; more of the same is in "
        "[REPORT.md](REPORT.md). Scores stand with their 95% intervals in brackets."
    )
    return "\n\n".join([head, *(f"## {title}\n\n{make(results)}" for title, make in sections)]) + "\n"


def _known(results: Results) -> tuple[list[str], list[str]]:
    """Return the garments that the model learnt, and those that it did not."""
    names = results.model.description.classes.names[1:]
    known = results.model.description.training_data.get("known_classes") or [
        one["name"] for one in results.evaluation.present
    ]
    return [name for name in names if name in known], [name for name in names if name not in known]


def _what(results: Results) -> str:
    description = results.model.description
    rows = [
        ["Task", "the class of each pixel of a photo: background or one of 12 groups of garments"],
        ["Network", f"{architecture(results)}, photos scaled to {description.image_size} pixels on their longer side"],
        ["File", f"`{results.model_path.as_posix()}`, ONNX, {len(results.model.content):,} bytes"],
        ["SHA-256", f"`{results.model.sha256}`"],
        ["Input, output", "RGB photo of any size; class ids at the photo's size"],
        ["Made with", f"clothseg {description.version}"],
        ["Licence", f"{description.licence or 'Apache-2.0, as the project'}; data and first weights below"],
    ]
    return tables.of_words(("", ""), rows)


def _use(results: Results) -> str:
    _, unknown = _known(results)
    return "\n".join(
        [
            "- For trying clothseg without a training of one's own, for a first draft of labels that people then "
            "correct, for cutting garments out of photos of one person, and as a start for other trainings.",
            "- Not for decisions about people: it knows garments, not who wears them, and was never tested for "
            "differences between groups of people, in age, skin colour or body, nor between cultures of dress.",
            "- Not for photos unlike its data, such as crowds, uniforms, drawings or product shots without a person: "
            "its scores say nothing of these.",
            "- Not where a missed garment does harm. What it does not find, it does not announce.",
            *([f"- Not for {', '.join(unknown)}: it has never seen them labelled."] if unknown else []),
        ]
    )


def _classes(results: Results) -> str:
    known, unknown = _known(results)
    lines = [
        f"Knows {1 + len(known)} of {1 + len(known) + len(unknown)} classes: background, {', '.join(known)}.",
        f"Does not know, as its data has no pixel of them: {', '.join(unknown)}. They keep their ids, so that masks "
        "mean the same as those of other models."
        if unknown
        else "",
    ]
    return "\n\n".join(line for line in lines if line)


def _data(results: Results) -> str:
    return (
        f"| | what | licence |\n| --- | --- | --- |\n| Data | {DATA} | {DATA_LICENCE} |\n"
        f"| First weights | {WEIGHTS} | {WEIGHTS_LICENCE} |\n\n"
        f"{MAPPING} It learnt from {learnt_from(results)}, and was scored on "
        f"{results.evaluation.values['data']['photos']} others on which no setting was chosen. No photo is in this "
        "project or in the model file."
    )


def _scores(results: Results) -> str:
    evaluation = results.evaluation
    return "\n\n".join(
        [
            f"On {evaluation.values['data']['name']}, {evaluation.values['data']['split']}, "
            f"{evaluation.values['data']['photos']} photos at their own size. Measured by {evaluation.circumstances}.",
            tables.classes(evaluation),
            picture("classes.svg", "IoU of each class"),
        ]
    )


def _speed(results: Results) -> str:
    speed = results.speed
    note = f"; {speed['note']}" if speed["note"] else ""
    return (
        f"{tables.speed(speed)}\n\nA photo of {speed['photo']}, median of {speed['times']} runs (of a fifth as many, "
        f"3 at least, for the whole command). Measured by `{speed['command']}`, {speed['machine']}, "
        f"{speed['date']}{note}. On a GPU: not measured. More in [speed](docs/concepts/speed.md)."
    )


def _failures(results: Results, drawn: Drawn) -> str:
    return "\n\n".join(
        [
            "Garments from the lowest IoU up:",
            tables.mistakes(results.evaluation),
            "Objects by their size:",
            tables.sizes(results.evaluation),
            f"Of {drawn.count} photos that our own generator drew, those with the lowest IoU (photo, truth, found). "
            "Drawn photos differ from real ones, so that they show kinds of mistakes and not how often they happen:",
            photos(drawn.worst),
            f"Real photos unlike those that it learnt from ([credits](docs/pictures/photos/CREDITS.md)):\n\n"
            f"{photos(drawn.real)}",
        ]
    )


def _load(results: Results) -> str:
    path = results.model_path.as_posix()
    if results.model_path.name != MODEL_NAME:
        return _LOAD.format(argument=f'"{path}"', flag=f" --ckpt {path}")
    without = "It ships with clothseg, and is what runs where there is no model of your own training."
    return f"{without} By its path it is loaded in any case.\n\n{_LOAD.format(argument='', flag='')}"


def _made(results: Results) -> str:
    training = results.training
    return (
        f"`{training['command']}`, {training['photos_seen']:,} photos seen in {training['steps']:,} steps and "
        f"{tables.duration(training['seconds'])} on {training['machine']}, ended {training['ended']}. Every step "
        "from the data to this page is in [benchmarks/starter/README.md](benchmarks/starter/README.md)."
    )
