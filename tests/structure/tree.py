"""What the structure tests share: the files of the project and the table of its layers."""
import os
import pathlib
import subprocess

from workdir import SOURCE

# Folder -> the folders whose private headers it may include. docs/architecture.md has the reasons.
LAYERS = {
    "base": ["base"],
    "journal": ["base", "journal"],
    "snapshot": ["base", "snapshot"],
    "engine": ["base", "journal", "snapshot", "engine"],
    "drain": ["base", "journal", "snapshot", "engine", "drain"],
    "orchestrator-shim": ["orchestrator-shim"],
    "examples": ["examples"],
    "bench": ["base", "journal", "snapshot", "engine", "drain", "orchestrator-shim", "examples", "bench"],
    "tests": ["base", "journal", "snapshot", "engine", "drain", "orchestrator-shim", "examples", "bench", "tests"],
}
MODULES = ["base", "journal", "snapshot", "engine", "drain"]  # what libbaton is made of, in order


def public_modules(folder):
    """The modules whose <baton/...> headers a folder may include."""
    if folder in ("orchestrator-shim", "examples"):
        return MODULES
    return [module for module in MODULES if module in LAYERS[folder]]


def files(*suffixes):
    """Tracked and new files (not ignored ones), relative to the top; without git, everything but build/."""
    git = subprocess.run(["git", "-C", SOURCE, "ls-files", "-z", "-c", "-o", "--exclude-standard"],
                         capture_output=True, check=False)
    if git.returncode == 0:
        names = [os.fsdecode(name) for name in git.stdout.split(b"\0") if name]
    else:
        names = [str(path.relative_to(SOURCE)) for path in SOURCE.rglob("*")
                 if not {"build", ".git", "__pycache__"} & set(path.relative_to(SOURCE).parts)]
    return sorted(pathlib.PurePosixPath(name) for name in set(names)
                  if name.endswith(tuple(suffixes) or "") and (SOURCE / name).is_file())


def read(name):
    return (SOURCE / name).read_text(errors="replace")


def folder_of(name):
    """The layer a file belongs to, or None for one at the top."""
    return name.parts[0] if name.parts[0] in LAYERS else None


def public_headers():
    """<baton/x.h> -> the module that publishes it."""
    found = {}
    for name in files(".h"):
        if len(name.parts) == 4 and name.parts[1:3] == ("include", "baton"):
            found.setdefault("baton/" + name.parts[3], []).append(name.parts[0])
    return found


def include_flags(modules):
    return [f"-I{SOURCE / module / 'include'}" for module in modules]
