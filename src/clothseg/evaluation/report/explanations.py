"""What the scores mean and how they were measured, in the same words in every report."""

from __future__ import annotations

from clothseg.evaluation.bootstrap import LEAST_PHOTOS, RESAMPLES, SEED
from clothseg.evaluation.evaluation import Evaluation
from clothseg.evaluation.objects import LARGE_SHARE, TORN_SHARE
from clothseg.evaluation.report import words

SCORES_OF_CLASSES = (
    "Pixels of all photos are counted together. IoU is the overlap of truth and prediction divided by their "
    "union; boundary IoU is the same for the pixels near contours only, within 2% of the photo's diagonal "
    "(Cheng et al., 2021). A class that no photo's truth shows is absent, and in no mean."
)
MATRIX = (
    "Each row is a true class; its cells say in percent which classes its pixels were given. Blue is right, "
    "orange is a mistake, and empty is below half a percent."
)
OBJECTS = (
    "An object is a connected region of one class in the truth; its size is its pixels at the photo's own "
    "size, with COCO's bounds. Its IoU is against the predicted pixels of its class that are nearer to it than "
    "to another object of that class in the photo. Here every object counts the same."
)
CONSISTENCY = (
    f"A large garment is a connected region of one class in the truth that covers at least {LARGE_SHARE:.0%} of the "
    f"photo. It is torn where more than one garment class was predicted on more than {TORN_SHARE:.0%} of it. Its "
    "majority class is wrong where most of its pixels got another class, or the background. Lower is better."
)
GARMENTS = (
    "Garments are the classes besides the background that the truth of a photo shows. The score is the photo's "
    "mean IoU over the garments that truth or prediction shows, and the mean of that over the photos; here "
    "every photo counts the same."
)
WORST = (
    "The photos with the lowest mean IoU over the garments that truth or prediction shows. A garment is missed "
    "where nothing was predicted, and not there where only the prediction shows it."
)


def circumstances(evaluation: Evaluation) -> list[tuple[str, str]]:
    """Return what was scored, how, when and where, as names and values."""
    made, ran = evaluation.predictions, evaluation.circumstances
    rows = [("Masks" if made["kind"] == "masks" else "Model", str(made["name"]))]
    if made["kind"] == "model":
        looks = f"tiles {made['tiles']}, flip {'yes' if made['flip'] else 'no'}, scales {made['scales']}"
        rows += [("SHA-256", str(made["sha256"])), ("Run by", str(made["runtime"])), ("Looks", looks)]
        rows += [("Licence", str(made["licence"]))] if made["licence"] else []
        unknown = ", ".join(made["unknown_classes"])
        rows += [("Never seen in training", unknown)] if unknown else []
    failed = f"; {len(evaluation.failures)} could not be scored" if evaluation.failures else ""
    return [
        *rows,
        ("Data", f"{evaluation.data_name} ({evaluation.data_source}), {evaluation.split}"),
        ("Photos", f"{words.photos(evaluation.summary.num_photos)}{failed}"),
        (
            "Intervals",
            f"95%, by bootstrap over photos: {RESAMPLES:,} times as many photos drawn with replacement, seed {SEED}. "
            f"None is given where fewer than {LEAST_PHOTOS} photos show a class.",
        ),
        ("Command", ran.command),
        ("clothseg", ran.clothseg),
        ("Machine", ran.machine),
        ("Date", ran.date),
    ]
