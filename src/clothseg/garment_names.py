"""Names of garments and colours: Fashionpedia's categories, names for people, synonyms, labels of other models."""

from collections.abc import Mapping, Sequence

# Source: Fashionpedia (Jia et al., ECCV 2020), `categories` of instances_attributes_train2020.json.
FASHIONPEDIA_CATEGORIES: Mapping[str, Sequence[str]] = {
    "upperbody": ("shirt, blouse", "top, t-shirt, sweatshirt", "sweater", "cardigan", "jacket", "vest"),
    "lowerbody": ("pants", "shorts", "skirt"),
    "wholebody": ("coat", "dress", "jumpsuit", "cape"),
    "head": ("glasses", "hat", "headband, head covering, hair accessory"),
    "neck": ("tie",),
    "arms and hands": ("glove", "watch"),
    "waist": ("belt",),
    "legs and feet": ("leg warmer", "tights, stockings", "sock", "shoe"),
    "others": ("bag, wallet", "scarf", "umbrella"),
    "garment parts": ("hood", "collar", "lapel", "epaulette", "sleeve", "pocket", "neckline"),
    "closures": ("buckle", "zipper"),
    "decorations": (*("applique", "bead", "bow", "flower", "fringe", "ribbon", "rivet", "ruffle", "sequin", "tassel"),),
}
"""Fashionpedia's 12 super-categories and their 46 categories, in the order of the official ids 0 to 45."""

DISPLAY_NAMES = {
    "upperbody": "tops and jackets",
    "lowerbody": "trousers and skirts",
    "wholebody": "dresses and coats",
    "head": "hats and glasses",
    "neck": "ties",
    "arms and hands": "gloves and watches",
    "waist": "belts",
    "legs and feet": "shoes and legwear",
    "others": "bags and scarves",
    "garment parts": "collars, sleeves and pockets",
    "closures": "buckles and zips",
    "decorations": "decorations",
}

# Other words for a category; which class each means follows from the class list, as for the category itself.
SYNONYMS: Mapping[str, Sequence[str]] = {
    "shirt, blouse": ("polo", "polo shirt", "button down"),
    "top, t-shirt, sweatshirt": ("tee", "tshirt", "tank top", "crop top", "hoodie", "camisole"),
    "sweater": ("jumper", "pullover", "knitwear"),
    "jacket": ("blazer", "bomber", "anorak", "windbreaker"),
    "vest": ("waistcoat", "gilet"),
    "pants": ("trousers", "jeans", "denim", "leggings", "chinos", "slacks", "joggers", "sweatpants"),
    "shorts": ("bermudas", "hot pants"),
    "skirt": ("miniskirt",),
    "coat": ("overcoat", "trench coat", "raincoat", "parka"),
    "dress": ("gown", "frock", "sundress"),
    "jumpsuit": ("overalls", "dungarees", "romper", "playsuit", "onesie"),
    "cape": ("poncho", "cloak"),
    "glasses": ("sunglasses", "eyeglasses", "spectacles"),
    "hat": ("cap", "beanie", "beret"),
    "headband, head covering, hair accessory": ("headscarf", "hijab", "turban", "hairband"),
    "tie": ("necktie", "bow tie"),
    "glove": ("mitten",),
    "watch": ("wristwatch",),
    "tights, stockings": ("pantyhose", "hosiery"),
    "shoe": ("boot", "sneaker", "trainer", "sandal", "heel", "high heel", "loafer", "slipper", "footwear"),
    "bag, wallet": ("handbag", "purse", "backpack", "rucksack", "clutch", "tote"),
    "scarf": ("scarves", "shawl"),
    "umbrella": ("parasol",),
    "zipper": ("zip",),
}

# Source: the labels of ATR (Liang et al., 2015), LIP (Gong et al., 2017), Pascal-Person-Part (Chen et al., 2014), and
# of rembg's and FASHN's models. Those that are a category or a synonym of one are above.
PARSING_GROUPS = {
    "upper clothes": "upperbody",
    "upper body": "upperbody",
    "top": "upperbody",
    "lower body": "lowerbody",
    "full body": "wholebody",
    "jewelry": "others",
}
BODY_PARTS = {
    *("hair", "face", "head", "neck", "skin", "torso", "arm", "hand", "leg", "foot", "feet"),
    *("upper arm", "lower arm", "upper leg", "lower leg"),
}

# fmt: off
COLOR_NAMES = {
    "black": (20, 20, 22), "dark grey": (70, 70, 72), "grey": (128, 128, 130), "light grey": (190, 190, 192),
    "white": (245, 245, 245), "cream": (240, 230, 205), "beige": (208, 186, 150), "tan": (176, 136, 96),
    "brown": (108, 70, 42), "dark brown": (58, 40, 30), "maroon": (104, 26, 38), "red": (200, 32, 38),
    "coral": (238, 112, 90), "orange": (240, 136, 40), "mustard": (200, 160, 50), "yellow": (248, 220, 70),
    "olive": (112, 112, 52), "light green": (150, 205, 130), "green": (54, 140, 70), "dark green": (28, 66, 44),
    "teal": (28, 122, 126), "turquoise": (84, 196, 198), "light blue": (158, 198, 230), "blue": (44, 100, 190),
    "royal blue": (30, 50, 175), "denim": (72, 96, 132), "navy": (24, 32, 84), "purple": (108, 54, 140),
    "lilac": (188, 164, 214), "pink": (240, 164, 186), "magenta": (206, 44, 126),
}
# fmt: on
"""Names of colours in tables and on the page, each with an example, RGB 0 to 255; the nearest one names a colour."""
