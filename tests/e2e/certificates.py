"""Certificates for tests, made with the openssl command."""
import os
import pathlib
import subprocess


def _openssl(folder, *arguments):
    subprocess.run(["openssl", *arguments], cwd=folder, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


class Authority:
    """A CA in a folder of its own: NAME.crt. Dates as openssl's `ca` has them: YYYYMMDDHHMMSSZ."""

    def __init__(self, folder, name="ca"):
        self.folder = pathlib.Path(folder) / name
        self.folder.mkdir(parents=True)
        self.path = self.folder / "ca.crt"
        (self.folder / "index").write_text("")
        (self.folder / "serial").write_text("01\n")
        (self.folder / "new").mkdir()
        (self.folder / "ca.cnf").write_text(
            "[ca]\ndefault_ca=own\n[own]\ndir=.\ndatabase=index\nserial=serial\nnew_certs_dir=new\n"
            "certificate=ca.crt\nprivate_key=ca.key\ndefault_md=sha256\npolicy=any\ncopy_extensions=copy\n"
            "unique_subject=no\n[any]\ncommonName=supplied\n")
        _openssl(self.folder, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                 "-keyout", "ca.key", "-out", "ca.crt", "-days", "3650", "-subj", f"/CN=tests {name}")

    def issue(self, label, name, begin="20200101000000Z", end="21000101000000Z", usage=None):
        """(certificate, key) whose subjectAltName is name."""
        more = ["-addext", f"extendedKeyUsage={usage}"] if usage else []
        _openssl(self.folder, "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                 "-keyout", f"{label}.key", "-out", f"{label}.csr", "-subj", f"/CN={name}",
                 "-addext", f"subjectAltName=DNS:{name}", *more)
        _openssl(self.folder, "ca", "-batch", "-config", "ca.cnf", "-in", f"{label}.csr", "-out", f"{label}.crt",
                 "-startdate", begin, "-enddate", end, "-notext")
        os.chmod(self.folder / f"{label}.key", 0o600)
        return self.folder / f"{label}.crt", self.folder / f"{label}.key"
