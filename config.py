"""The settings you edit. A flag of the same name overrides one of them: BATCH_SIZE is `--batch-size`."""

# Data
DATA_PATH = "data"  # root folder where datasets are downloaded and extracted
SHARDS = None  # packed dataset to train from instead: a folder, or an s3://, gs:// or https:// address
SOURCE = "https://s3.amazonaws.com/ifashionist-dataset"  # where Fashionpedia comes from: an address or a local folder
CLASSES = "groups"  # "groups" (13), "categories" (Fashionpedia's 46 and background), or the path of a YAML file
IMG_SIZE = 512  # input resolution; 1024 captures more detail but requires more VRAM and time; a multiple of 32
CROP_SIZE = None  # part of a photo in a training step: a side, or (height, width); None: IMG_SIZE. Smaller is faster
BATCH_SIZE = 32  # photos per step; reduce to 16 or 8 if you run into CUDA out-of-memory errors
NUM_WORKERS = None  # processes that load photos; None: what the cores allow

# Network
ARCHITECTURE = "unet"  # decoder of segmentation-models-pytorch; "fpn" learns more from few photos (see REPORT.md)
# The backbone: "resnet34", "efficientnet-b0", "mit_b2", any of segmentation-models-pytorch, or "tu-NAME" of timm.
# The ImageNet weights of mit_b0 … mit_b5 are NVIDIA's, for non-commercial use only, as is what is trained from them.
ENCODER_NAME = "mit_b1"
ENCODER_WEIGHTS = "imagenet"  # first weights of the backbone: "imagenet", None (random), or the path of a state dict
DECODER_WIDTH = 1.0  # channels of the decoder: 0.25, 0.5, 1 or 2 times the usual number; fewer are faster

# Training
EPOCHS = 20  # passes over the training photos
LOSS = "dice-ce"  # "dice-ce" (half Dice, half cross-entropy) or "dice-focal" (half Dice, half focal)
CLASS_BALANCE = 0.5  # how much more rare classes count in dice-ce: 0 all pixels the same, 1 every class as a whole
AVERAGING = 0.998  # moving average of the weights, which is saved: its share that a step keeps; 0: no average
LEARNING_RATE = 1e-3  # highest learning rate, reached after the warm-up
ENCODER_RATE = 0.2  # share of LEARNING_RATE for an encoder with pretrained weights; others learn with all of it
WEIGHT_DECAY = 0.01  # weight decay of AdamW
WARMUP = 0.05  # share of the training in which the learning rate rises; then it falls along a cosine
PATIENCE = 10  # epochs without a better val_loss before training stops; 0: never
PRECISION = "auto"  # "auto" (bf16 where the hardware has it), "32-true", "bf16-mixed" or "16-mixed"
ACCELERATOR = "auto"  # "auto", "cpu", "gpu" or "mps"
DEVICES = None  # GPUs or processes per machine; None: every GPU there is, or one process on a CPU
NUM_NODES = 1  # machines that train together
STRATEGY = "auto"  # how processes train together: "auto", "ddp" or "ddp_find_unused_parameters_true"
SEED = 42  # seed of all random numbers

# Files
CHECKPOINTS_PATH = "checkpoints"  # where checkpoints are saved: the three best by val_loss, and last.ckpt
LOGS_PATH = "logs"  # where TensorBoard's logs are saved
CHECKPOINT_PATH = None  # model that infer.py uses; None: the newest best checkpoint of your own training
