"""Files of rows, a form a file: CSV, JSONL and Parquet, told apart by their endings."""

from modelsum.sweeps.files.forms import is_rows, read
from modelsum.sweeps.files.merging import merge
from modelsum.sweeps.files.output import Output

__all__ = ["Output", "is_rows", "merge", "read"]
