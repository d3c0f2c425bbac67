"""REPORT.md from what was measured: data, network, training, scores, failures, ablation, set-up and limits."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

import tables
from results import Results, estimate_of
from shown_photos import Drawn, Shown
from sources import (
    DATA,
    DATA_LICENCE,
    DESIGN,
    FASHIONPEDIA_COMMANDS,
    FIRST_IMPLEMENTATION,
    MAPPING,
    PLAIN_WEIGHTS,
    WEIGHTS,
    WEIGHTS_LICENCE,
)

from clothseg.data.augmentation import Strength
from clothseg.data.balance import HEAVIEST
from clothseg.evaluation.compare import Comparison
from clothseg.evaluation.report import words
from clothseg.evaluation.report.explanations import GARMENTS, OBJECTS, SCORES_OF_CLASSES
from clothseg.evaluation.report.markdown import table

NOT_MEASURED = "Not measured for this model"

PICTURES = "docs/pictures/report"
ARCHITECTURES = {"unet": "U-Net", "fpn": "FPN", "unetplusplus": "U-Net++"}
_ENTROPY = (
    "half Dice, half cross-entropy over the softmax of the classes, so that they compete for each pixel. The Dice part "
    "is averaged over the classes that a batch shows. "
)
_FOCAL = "half Dice, half focal loss, one class against the rest. "


def report(results: Results, drawn: Drawn) -> str:
    """Return the whole document."""
    sections: tuple[tuple[str, Callable[[Results], str]], ...] = (
        ("In short", _short),
        ("The data set", _data),
        ("The network", _network),
        ("Loss and training", _training),
        *([("Training curves", _curves)] if results.training["curves"] else []),
        ("Scores", _scores),
        ("Against the plain recipe", _against_plain),
        ("Classes taken for one another", _confusion),
        ("Pictures", lambda _: _pictures(drawn)),
        ("Where it fails", lambda found: _failures(found, drawn)),
        ("What each change is worth", _ablation),
        ("Technical set-up", _set_up),
        ("On Fashionpedia", lambda _: _fashionpedia()),
        ("Limits", _limits),
    )
    head = (
        "# Report: the starter model\n\nThis page is made by a command from the files in "
        "[benchmarks/starter/results](benchmarks/starter/results); how each figure comes about, and how to make it "
        "again, is in [benchmarks/starter/README.md](benchmarks/starter/README.md). Scores stand with their 95% "
        "intervals in brackets. The model itself is described in [MODEL_CARD.md](MODEL_CARD.md)."
    )
    return "\n\n".join([head, *(f"## {title}\n\n{make(results)}" for title, make in sections)]) + "\n"


def picture(name: str, title: str) -> str:
    """Return a picture of the report in Markdown."""
    return f"![{title}]({PICTURES}/{name})"


def photos(shown: Sequence[Shown]) -> str:
    """Return photos with what they show below them."""
    return "\n\n".join(f"{picture(one.name, one.words)}\n\n{one.words}" for one in shown)


def architecture(results: Results) -> str:
    """Return the network's name."""
    description = results.model.description
    decoder = ARCHITECTURES.get(description.architecture, description.architecture)
    width = description.decoder_width
    narrowed = "" if width == 1 else f", {width:g} times its usual channels,"
    return f"{decoder}{narrowed} with a {description.encoder_name} encoder"


def _short(results: Results) -> str:
    evaluation, comparison = results.evaluation, results.comparison
    rows = [[title, tables.shown(mean["iou"]), tables.shown(mean["f1"])] for title, mean in evaluation.means]
    rows.append(["pixel accuracy", tables.shown(evaluation.values["pixel_accuracy"]), ""])
    absent = ", ".join(evaluation.absent)
    lines = [
        f"{architecture(results)}, {len(results.model.content) / 1e6:.1f} MB, trained on {learnt_from(results)}, "
        f"and scored on {evaluation.values['data']['photos']} others, at their own size:",
        table(("", "IoU", "F1"), rows),
        "" if comparison is None else _gain(comparison),
        f"Absent, as no photo of the data shows them: {absent}." if absent else "",
        results.notes,
    ]
    return "\n\n".join(line for line in lines if line)


def _gain(comparison: Comparison) -> str:
    change = comparison.means["iou"].change
    bounds = f" (95% interval {change.low:+.3f} to {change.high:+.3f})" if change.has_interval else ""
    return f"The mean IoU differs from that of the plain recipe, below, by {change.value:+.3f}{bounds}."


def learnt_from(results: Results) -> str:
    """Return how many photos the model learnt from, and whose masks a model guessed."""
    if results.guesses is not None:
        return f"{results.guesses['labelled']:,} photos, and {results.guesses['guessed']:,} whose masks a model guessed"
    count = results.model.description.training_data.get("counts", {}).get("train")
    return f"{count:,} photos" if count is not None else "an unknown number of photos"


def _guesses(results: Results) -> str:
    guesses = results.guesses
    if guesses is None:
        return ""
    return (
        f"\n- {guesses['guessed']:,} more photos of the same source have no masks, but tags that say which classes "
        "they show. A model guessed their masks: the likeliest of the tagged classes at each pixel, and nothing where "
        "it was unsure. Which garment is worn is what such a model most often mistakes, and that the tags say. "
        f"{guesses['teacher']} {guesses['left_out']} photos were left out that are among the labelled ones, or nearly "
        "the same as a scored one.\n"
        f"- {guesses['repeats']}"
    )


def _data(results: Results) -> str:
    return (
        f"Photos and labels are those of {DATA}. {MAPPING}\n\n"
        f"- Licence: {DATA_LICENCE}. That is why it was chosen: a model that ships must come from data and weights "
        "with terms that allow it, while the photos of Fashionpedia, whose classes these are, belong to their owners.\n"
        f"- Trained on {learnt_from(results)}; scored on {results.evaluation.values['data']['photos']} "
        "others. Every choice was made on a part of the training photos that is named in "
        "[tune.txt](benchmarks/starter/tune.txt); for the last training, that part was learnt from, too.\n"
        f"- Without a pixel in the data: {', '.join(results.evaluation.absent) or 'no class'}. The model has the 13 "
        f"classes, and says which it knows.{_guesses(results)}"
    )


def _network(results: Results) -> str:
    description = results.model.description
    return (
        f"{architecture(results)}, of segmentation-models-pytorch, with {description.classes.num_classes} output "
        f"channels. Photos are scaled until their longer side has {description.image_size} pixels, keep their shape, "
        "and are normalised inside the network; logits are enlarged to the photo's own size before classes are chosen. "
        f"The encoder began with {WEIGHTS} ({WEIGHTS_LICENCE}). {DESIGN}"
    )


def _training(results: Results) -> str:
    if "recipe" in results.training:
        return "\n".join(f"- {line}" for line in results.training["recipe"])
    settings = results.training["settings"]
    balance, averaging, crop = float(settings["class_balance"]), float(settings["averaging"]), settings["crop_size"]
    low, high = Strength().zoom
    loss = _ENTROPY if settings["loss"] == "dice-ce" else _FOCAL
    if settings["loss"] == "dice-ce" and balance:
        loss += (
            f"In the cross-entropy a pixel of a class counts as the class's share of all pixels to the power of "
            f"-{balance:g}, scaled so that the mean pixel counts 1, and {HEAVIEST:g} at most."
        )
    rate = float(settings["encoder_rate"])
    encoder = "the encoder has the same" if rate == 1 else f"the encoder's is {rate:g} times that"
    view = "A step sees the whole of" if crop == "None" else f"A step sees {_view(crop)} pixels cut out of"
    average = (
        f"The weights that are validated and kept are a moving average over the steps ({averaging:g})."
        if averaging
        else "The weights are those of the last step, not an average."
    )
    return (
        f"- **Loss:** {loss}\n"
        f"- **Photos:** {view} photos scaled for {settings['img_size']} pixels, {low:g} to {high:g} times as large, "
        "turned, sheared, mirrored and changed in colour, in one warp.\n"
        f"- **Learning:** AdamW, weight decay {settings['weight_decay']}, batches of {settings['batch_size']}; the "
        f"learning rate rises to {settings['learning_rate']} over the first {float(settings['warmup']):.0%} of the "
        f"steps and falls along a cosine; {encoder}. {average}"
    )


def _view(crop: str) -> str:
    """Return in words the part of a photo that a step sees, from the setting as it was logged."""
    sides = re.findall(r"\d+", crop)
    return f"squares of {sides[0]}" if len(sides) == 1 else f"parts of {sides[0]} x {sides[1]}"


def _curves(results: Results) -> str:
    training = results.training
    shown = ["loss.svg", "validation.svg"] + ["learning-rate.svg"] * ("learning_rate" in training["curves"])
    validated = f" Its validation curves are of {training['validated_on']}." if training["validated_on"] else ""
    titles = {
        "loss.svg": "Loss over epochs",
        "validation.svg": "Scores over epochs",
        "learning-rate.svg": "Learning rate",
    }
    text = f"From TensorBoard's log of the training.{validated}"
    return "\n\n".join([text, *(picture(name, titles[name]) for name in shown)])


def _scores(results: Results) -> str:
    evaluation = results.evaluation
    return "\n\n".join(
        [
            f"Measured by {evaluation.circumstances}. {SCORES_OF_CLASSES}",
            tables.classes(evaluation),
            "No interval is given where too few photos show a class.",
        ]
    )


def _against_plain(results: Results) -> str:
    plain, comparison = results.plain, results.comparison
    if plain is None or comparison is None:
        return f"{NOT_MEASURED}: step 3 of [its making](benchmarks/starter/README.md) trains it and step 4 scores it."
    return "\n\n".join(
        [
            "The plain recipe is a U-Net with a mobilenet_v2 encoder. It squashes photos to a square of 320 pixels, "
            "augments as torchvision's usual list does, and learns with Adam at a constant rate of 1e-4 from half "
            "Dice, half focal loss; see [ablation.py](benchmarks/starter/ablation.py). It began with "
            f"{PLAIN_WEIGHTS}. The starter model began with a better encoder and saw "
            f"{results.training['photos_seen']:,} photos, repeats counted, so that this compares two models, and not "
            f"two recipes at equal cost. The plain recipe's masks were made by `{plain.values['made_by']}` and scored "
            f"by {plain.circumstances}.",
            "Intervals of the differences are paired: both are scored on the same resampled photos.",
            picture("classes.svg", "IoU of each class, starter model and plain recipe"),
            tables.against_plain(comparison),
        ]
    )


def _confusion(results: Results) -> str:
    matrix = tables.confusion(results.evaluation)
    detail = f"<details><summary>The same as a table, in percent</summary>\n\n{matrix}\n\n</details>"
    return f"{picture('confusion.svg', 'Confusion matrix')}\n\n{detail}"


def _pictures(drawn: Drawn) -> str:
    return (
        "Real photos, all that the project has the right to show, none of them chosen by how well the model does, and "
        "none like the street photos that it learnt from; showing them implies no endorsement. Left the photo, right "
        f"what the model found ([credits](docs/pictures/photos/CREDITS.md)):\n\n{photos(drawn.real)}\n\n"
        "The next are drawn by the project's own generator: from left to right the photo, the truth in the classes "
        "that the model knows, and what the model found. It learnt from none of them. "
        f"Of {drawn.count} photos drawn, those with the highest IoU:\n\n"
        f"{photos(drawn.best)}\n\n"
        "The same for photos of your own:\n\n"
        "```bash\nuv run python benchmarks/starter/report.py --photos PHOTOS --output pictures\n```"
    )


def _failures(results: Results, drawn: Drawn) -> str:
    evaluation = results.evaluation
    return "\n\n".join(
        [
            "Garments from the lowest IoU up: what their pixels were taken for, and what was taken for them.",
            tables.mistakes(evaluation),
            f"**By size.** {OBJECTS}",
            tables.sizes(evaluation),
            f"**By number of garments.** {GARMENTS}",
            tables.garments(evaluation),
            "**The worst photos**, by their names in the data set. A garment counts as missed where less than a tenth "
            "of it was found, as invented where it covers a five-hundredth of a photo that does not show it. "
            "`clothseg evaluate` shows them with truth and prediction in `evaluation.html`.",
            tables.worst_photos(evaluation),
            f"**Drawn photos:** of {drawn.count}, those with the lowest IoU (photo, truth, found):",
            photos(drawn.worst),
        ]
    )


def _ablation(results: Results) -> str:
    ablation = results.ablation
    if ablation is None:
        return f"{NOT_MEASURED}: step 2 of [its making](benchmarks/starter/README.md) trains each change on its own."
    return "\n\n".join(
        [
            "U-Net or FPN with a mobilenet_v2 encoder, the same first weights, "
            f"{ablation['rows'][0]['photos']:,} photos seen by each, scored on the tune part at the photos' own size. "
            "One run each: differences as small as those between seeds say nothing. Measured by "
            f"`{ablation['command']}`, {ablation['machine']}, {ablation['date']}.",
            picture("ablation.svg", "Mean IoU of each recipe"),
            tables.ablation(ablation),
        ]
    )


def _set_up(results: Results) -> str:
    training = results.training
    rows = [
        ["Command", f"`{training['command']}`"],
        ["Machine", training["machine"] + (f"; {training['note']}" if training["note"] else "")],
        ["clothseg", training["clothseg"]],
        ["Started, ended", f"{training['starts'][0]['date']}, {training['ended']}"],
        ["Time at work", tables.duration(training["seconds"])],
        ["Steps, photos seen", f"{training['steps']:,}, {training['photos_seen']:,}"],
        ["Seed, precision", f"{training['settings']['seed']}, {training['settings']['precision']}"],
    ]
    resumed = [f"{one['date']} (of {one['epochs']} epochs)" for one in training["starts"][1:]]
    rows += [["Stopped and resumed", ", ".join(resumed)]] if resumed else []
    return tables.of_words(("", ""), [[name, str(value)] for name, value in rows])


def _fashionpedia() -> str:
    return (
        f"{FIRST_IMPLEMENTATION}\n\nOur recipe on Fashionpedia: **not measured**. The commands to measure it:\n\n"
        f"```bash\n{FASHIONPEDIA_COMMANDS}\n```"
    )


def _limits(results: Results) -> str:
    evaluation = results.evaluation
    rare = [f"{one['name']} ({words.photos(one['photos'])})" for one in evaluation.present if one["photos"] < 20]
    mean = estimate_of(evaluation.means[0][1]["iou"])
    lines = [
        f"- {evaluation.values['data']['photos']} photos of one data set: the mean IoU of {words.estimate(mean)} says "
        "how it would be on more such photos, street photos of one person each, and nothing of others.",
        "- One training with one seed. The intervals are over photos, not over trainings.",
        f"- Shown by fewer than 20 of the scored photos: {', '.join(rare)}." if rare else "",
        f"- Not learnt and not scored: {', '.join(evaluation.absent)}." if evaluation.absent else "",
        "- People behind the main person are not labelled; finding their clothes counts as a mistake.",
    ]
    return "\n".join(line for line in lines if line)
