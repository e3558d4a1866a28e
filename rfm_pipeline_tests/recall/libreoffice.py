"""A real spreadsheet program, for what people do with the files: LibreOffice without its window.

What belongs here opens and saves; what should be in the files is the tests' business.
"""

import subprocess
from pathlib import Path

# separator, quote, UTF-8, from row 1, cells as shown, every worksheet into a file of its own
CSV_OF_EVERY_SHEET = "csv:Text - txt - csv (StarCalc):44,34,76,1,,0,false,true,false,false,false,-1"


def saved_by_libreoffice(path: Path, form: str, folder: Path) -> list[Path]:
    """The files that LibreOffice makes of one when it saves it in another form."""
    target = folder / "saved"
    target.mkdir(parents=True)
    profile = f"-env:UserInstallation=file://{folder / 'profile'}"
    command = ["soffice", profile, "--headless", "--convert-to", form, "--outdir", str(target), str(path)]
    subprocess.run(command, check=True, capture_output=True, timeout=180)
    return sorted(target.iterdir())
