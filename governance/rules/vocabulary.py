"""Constants of the contracts: roles, states, bits and limits (contracts/vocabulary.json; a test
compares them).
"""

PURPOSES, CATEGORIES = 0xFFFF037F, 0x000F03FF  # the bits that exist
CARE = 1 << 6  # her own care: a permit asks for it alone, or not at all
COMMITTEE, CUSTODIAN, REGISTRAR, ANALYST, CHECKER = 1, 2, 3, 4, 5  # roles
CLINICIAN, PROTECTION, BROKER, WORKER = 6, 7, 9, 10
LAST_ROLE = WORKER
LIVE, REVOKED = 1, 2  # of a consent
REQUESTED, APPROVED, SUSPENDED, REJECTED = 1, 2, 3, 4  # of a permit
DAY, FOREVER = 86_400, (1 << 40) - 1  # seconds
MAX_ATTEMPTS, MAX_SUBJECTS, MAX_PARAMS, MAX_ITEMS = 16, 1000, 2048, 256
OUTPUT_CLASSES, GENOMIC = (1, 2, 3), 3  # classes that research can seal; per-variant statistics
INDIVIDUAL = 5  # the class of a plan, and of nothing else
PERMIT_QUESTIONS, DATASET_QUESTIONS = 100, 1000  # different ones, at most
MAX_MOVES = 8  # of a run to other people or records
BUDGET = 128_000  # millionths of m / N that released per-variant statistics of a dataset may reach
