"""Documents and what becomes of them: parse, check, resolve.

Nothing is imported here: who needs a part (an agent the words of its registration) pays for that part alone.
"""
