"""Names of diagnoses by their ICD-10-CM codes, for people who read a plan or a run.

Source: the titles of chapters and categories of ICD-10-CM (National Center for Health Statistics,
in the public domain), shortened. A code that is not in these lists is shown as it is.
"""

from __future__ import annotations

from collections.abc import Iterable

SYSTEM = "icd-10-cm"
# The first and last category of each chapter.
_CHAPTERS = (
    ("A00", "B99", "infectious and parasitic diseases"),
    ("C00", "D49", "neoplasms"),
    ("D50", "D89", "diseases of the blood and the immune system"),
    ("E00", "E89", "endocrine, nutritional and metabolic diseases"),
    ("F01", "F99", "mental and behavioural disorders"),
    ("G00", "G99", "diseases of the nervous system"),
    ("H00", "H59", "diseases of the eye"),
    ("H60", "H95", "diseases of the ear"),
    ("I00", "I99", "diseases of the circulatory system"),
    ("J00", "J99", "diseases of the respiratory system"),
    ("K00", "K95", "diseases of the digestive system"),
    ("L00", "L99", "diseases of the skin"),
    ("M00", "M99", "diseases of the musculoskeletal system"),
    ("N00", "N99", "diseases of the genitourinary system"),
    ("O00", "O9A", "pregnancy, childbirth and the puerperium"),
    ("P00", "P96", "conditions of the perinatal period"),
    ("Q00", "Q99", "congenital malformations and chromosomal abnormalities"),
    ("R00", "R99", "symptoms and abnormal findings"),
    ("S00", "T88", "injuries and poisonings"),
    ("V00", "Y99", "external causes"),
    ("Z00", "Z99", "factors influencing health status"),
)
_CATEGORIES = {
    "C15": "cancer of the oesophagus",
    "C16": "cancer of the stomach",
    "C18": "cancer of the colon",
    "C19": "cancer of the rectosigmoid junction",
    "C20": "cancer of the rectum",
    "C22": "cancer of the liver",
    "C25": "cancer of the pancreas",
    "C34": "cancer of the lung",
    "C43": "melanoma of the skin",
    "C50": "breast cancer",
    "C53": "cancer of the cervix",
    "C54": "cancer of the body of the uterus",
    "C56": "cancer of the ovary",
    "C61": "cancer of the prostate",
    "C64": "cancer of the kidney",
    "C67": "cancer of the bladder",
    "C71": "cancer of the brain",
    "C73": "cancer of the thyroid",
    "C77": "spread of a cancer to lymph nodes",
    "C78": "spread of a cancer to lung, liver or bowel",
    "C79": "spread of a cancer to other sites",
    "C81": "Hodgkin lymphoma",
    "C90": "multiple myeloma",
    "C91": "lymphoid leukaemia",
    "C92": "myeloid leukaemia",
    "D05": "carcinoma in situ of the breast",
    "E10": "type 1 diabetes",
    "E11": "type 2 diabetes",
    "E66": "overweight and obesity",
    "E78": "disorders of lipoprotein metabolism",
    "F32": "a depressive episode",
    "G20": "Parkinson's disease",
    "G30": "Alzheimer's disease",
    "G35": "multiple sclerosis",
    "I10": "high blood pressure",
    "I20": "angina pectoris",
    "I21": "acute myocardial infarction",
    "I25": "chronic ischaemic heart disease",
    "I48": "atrial fibrillation",
    "I50": "heart failure",
    "I63": "cerebral infarction",
    "J44": "chronic obstructive pulmonary disease",
    "J45": "asthma",
    "K50": "Crohn's disease",
    "K51": "ulcerative colitis",
    "L40": "psoriasis",
    "M05": "rheumatoid arthritis",
    "M81": "osteoporosis",
    "N18": "chronic kidney disease",
}


def diagnosis(code: str) -> str:
    """A code `system:beginning` in words with the code behind it, e.g. "breast cancer (C50)"."""
    system, _, begin = code.partition(":")
    if system != SYSTEM:
        return code
    name = _CATEGORIES.get(begin[:3]) or next(
        (
            f"a diagnosis among {title}"
            for first, last, title in _CHAPTERS
            if first <= begin[:3] <= last
        ),
        "",
    )
    return f"{name} ({begin})" if name and len(begin) >= 3 else code


def diagnoses(codes: Iterable[str]) -> str:
    """Several codes, any of which counts."""
    return " or ".join(map(diagnosis, codes))
