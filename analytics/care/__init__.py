"""A personalised care plan, drawn from one patient's own records: what is known about her, rules as
data, and the small interpreter that holds the one against the other.

Does not know who asked, keys, consents or the time: "today" is the day that the caller names.
"""
