"""Archives by commands: GNU tar, bsdtar, busybox, compressors, Info-ZIP and 7-Zip."""

from __future__ import annotations

from functools import partial

from tests.fakes.corpus.sample import (
    DIRECTORIES,
    HOLES,
    LINKED,
    OUTWARD,
    SHORT,
    Group,
    Recipe,
    run_recipes,
    wrap,
)

_LATER = {**SHORT, "assets/vocab.txt": b"later"}
_CHANGE = (
    "rm -rf changed; cp -a short changed; printf later > changed/assets/vocab.txt; "
    "touch -d 2040-01-01 changed/assets/vocab.txt"
)
_STUB = "cd long; zip -qr $OUT.zip .; printf '#!/bin/sh\\nexit\\n' | cat - $OUT.zip > $OUT; rm $OUT.zip"
_TAR = "tar -c -C long ."

GNU_TAR = (
    *(Recipe(form, f"tar -c --format={form} -C short .", files=SHORT) for form in ("v7", "ustar")),
    *(Recipe(form, f"tar -c --format={form} -C long .") for form in ("oldgnu", "gnu", "posix")),
    *(
        Recipe(f"{form}, in a folder", f"tar -cz --format={form} -C wrapped model", ".tar.gz", wrap(SHORT), "folder")
        for form in ("v7", "gnu", "posix")
    ),
    *(Recipe(f"--sparse {form}", f"tar -cS --format={form} -C holes .", files=HOLES) for form in ("gnu", "oldgnu", "posix")),
    *(
        Recipe(f"--sparse-version={version}", f"tar -cS --format=posix --sparse-version={version} -C holes .", files=HOLES)
        for version in ("0.0", "0.1", "1.0")
    ),
    Recipe("without ./", "cd long; tar -c *"),
    Recipe("-r", f"{_CHANGE}; tar -cf $OUT -C short .; tar -rf $OUT -C changed ./assets/vocab.txt", files=_LATER),
    Recipe("-u", f"{_CHANGE}; tar -cf $OUT -C short .; tar -uf $OUT -C changed .", files=_LATER),
    Recipe("-A", "tar -cf $OUT -C short assets; tar -cf b -C short saved_model.pb variables assets.extra; tar -Af $OUT b",
           files=SHORT),
    Recipe("--delete", "tar -cf $OUT -C holes .; tar --delete -f $OUT ./assets/holes.bin", files=SHORT),
    Recipe("links", "tar -c -C links .", files=LINKED),
    Recipe("links, posix", "tar -cz --format=posix -C links .", ".tar.gz", LINKED),
    Recipe("--hard-dereference -h", "tar -ch --hard-dereference -C links .", files=LINKED),
    Recipe("a link outside", "tar -c -C outward .", files=OUTWARD, exception="link-outside"),
    Recipe("a link to a directory", "tar -c -C directories .", files=DIRECTORIES, exception="link-directory"),
    Recipe("--xattrs --acls", "tar -c --format=posix --xattrs --acls --selinux -C long ."),
    Recipe("reproducible", "tar -c --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner --format=gnu -C long ."),
    Recipe("before 1970", "tar -c --mtime='1960-01-01 00:00:00.5' --owner=:4294967294 --format=gnu -C long ."),
    Recipe("before 1970, posix", "tar -c --mtime='1960-01-01 00:00:00.5' --owner=:4294967294 --format=posix -C long ."),
    Recipe("-b 1", "tar -c -b 1 -C long ."),
    Recipe("--label", "tar -c --label=weights -C long ."),
    Recipe("--listed-incremental", "tar -c --listed-incremental=snapshot -C long ."),
    Recipe("--multi-volume, one volume", "tar -cM -L 1000000 -f $OUT -C long ."),
    Recipe("-P", "tar -cP --transform='s,^\\./,/,' -C short ./saved_model.pb ./variables ./assets ./assets.extra",
           files=SHORT, exception="name-outside"),
    Recipe("a comment for all", "tar -c --format=posix --pax-option=comment=ok,globexthdr.name=global -C long ."),
    Recipe("one folder of two", "tar -c -C wrapped model -C ../short .", files={**SHORT, **wrap(SHORT)}),
    Recipe("deep", "tar -c -C short --transform='s,^\\.,a/b/c/d,' .", files=wrap(SHORT, "a/b/c/d"),
           exception="deep"),
    Recipe("-z", "tar -czf $OUT -C long .", ".tar.gz"),
    Recipe("-z, as .tgz", "tar -czf $OUT -C long .", ".tgz"),
)  # fmt: skip

COMPRESSORS = (
    *(Recipe(f"gzip {options}", f"{_TAR} | gzip {options}", ".tar.gz") for options in ("-1", "-9 --rsyncable", "-n")),
    Recipe("gzip of a file", f"{_TAR} > t; gzip -c t", ".tar.gz"),
    Recipe("gzip, two members", f"{_TAR} > t; (head -c 7000 t | gzip; tail -c +7001 t | gzip)", ".tar.gz"),
    Recipe("gzip, padded", f"({_TAR} | gzip; head -c 1000 /dev/zero)", ".tar.gz"),
    *(Recipe(f"bzip2 {level}", f"{_TAR} | bzip2 {level}", ".tar.bz2") for level in ("-1", "-9")),
    Recipe("bzip2, two streams", f"{_TAR} > t; (head -c 7000 t | bzip2; tail -c +7001 t | bzip2)", ".tar.bz2"),
    *(
        Recipe(f"xz {options}", f"{_TAR} | xz {options}", ".tar.xz")
        for options in (
            *("-0", "-6", "-9e", "-T2 --block-size=4096", "--check=none", "--check=crc32", "--check=sha256"),
            *("--x86 --lzma2", "--delta=dist=4 --lzma2"),
        )
    ),
    Recipe("xz, two streams, padded", f"{_TAR} > t; (head -c 7000 t | xz; tail -c +7001 t | xz; head -c 8 /dev/zero)",
           ".tar.xz"),
    Recipe("lzma", f"{_TAR} | xz --format=lzma", ".tar.lzma"),
    Recipe("lzma -0", f"{_TAR} | xz --format=lzma -0", ".tar.lzma"),
    Recipe("xz, as .tar.gz", f"{_TAR} | xz", ".tar.gz"),
    Recipe("gzip, as .tar", f"{_TAR} | gzip", ".tar"),
    Recipe("plain, as .tar.gz", _TAR, ".tar.gz"),
    *(
        Recipe(f"zstd {options}", f"{_TAR} | zstd -q -c {options}", ".tar.zst")
        for options in ("-1", "-19", "--long=27", "--no-check", "-T2", "--ultra -22")
    ),
)  # fmt: skip

PIGZ = tuple(
    Recipe(options or "plain", f"{_TAR} | pigz {options}", ".tar.gz") for options in ("", "-11", "-p 2 -b 128 -i", "-R")
)

BUSYBOX = (
    Recipe("tar", "busybox tar -cf - -C long ."),
    Recipe("tar -z", "busybox tar -czf - -C long .", ".tar.gz"),
    Recipe("tar -j", "busybox tar -cf - -C long . | busybox bzip2", ".tar.bz2"),
    Recipe("tar, links", "busybox tar -cf - -C links .", files=LINKED),
    Recipe("tar -h", "busybox tar -chf - -C links .", files=LINKED),
    Recipe("tar, in a folder", "busybox tar -czf - -C wrapped model", ".tar.gz", wrap(SHORT), "folder"),
)

BSDTAR = (
    *(Recipe(form, f"bsdtar -c --format={form} -f - -C short .", files=SHORT) for form in ("v7", "ustar")),
    *(Recipe(form, f"bsdtar -c --format={form} -f - -C long .") for form in ("gnutar", "pax", "paxr")),
    Recipe("-z", "bsdtar -czf - -C long .", ".tar.gz"),
    Recipe("-j", "bsdtar -cjf - -C long .", ".tar.bz2"),
    Recipe("-J", "bsdtar -cJf - -C long .", ".tar.xz"),
    Recipe("--lzma", "bsdtar -c --lzma -f - -C long .", ".tar.lzma"),
    Recipe("--zstd", "bsdtar -c --zstd -f - -C long .", ".tar.zst"),
    Recipe("links", "bsdtar -cf - -C links .", files=LINKED),
    Recipe("sparse, pax", "bsdtar -c --read-sparse --format=pax -f - -C holes .", files=HOLES),
    Recipe("zip", "bsdtar -c --format=zip -f - -C long .", ".zip"),
    Recipe("zip, stored", "bsdtar -c --format=zip --options=zip:compression=store -f $OUT -C long .", ".zip"),
    *(Recipe(f"bsdcpio, {form}", f"cd short; find . | bsdcpio --quiet -oH {form}", files=SHORT) for form in ("ustar", "pax")),
    Recipe("@archive", "tar -cf t -C long .; bsdtar -czf - @t", ".tar.gz"),
)

_COMMIT = "rm -rf r; cp -a short r; cd r; git init -q; git add -A; git -c user.name=a -c user.email=a@b commit -qm x"
GIT = (
    Recipe("archive, tar", f"{_COMMIT}; git archive --format=tar HEAD", files=SHORT),
    Recipe("archive, tar.gz", f"{_COMMIT}; git archive --format=tar.gz HEAD", ".tar.gz", SHORT),
    Recipe("archive, in a folder", f"{_COMMIT}; git archive --format=tar.gz --prefix=model/ HEAD", ".tar.gz", wrap(SHORT),
           "folder"),
    Recipe("archive, zip", f"{_COMMIT}; git archive --format=zip HEAD", ".zip", SHORT),
)  # fmt: skip

PERL = (
    Recipe("ptar", "cd long; ptar -cf $OUT *"),
    Recipe("ptar -z", "cd short; ptar -czf $OUT *", ".tar.gz", SHORT),
)

INFO_ZIP = (
    Recipe("-r", "cd long; zip -qr $OUT.zip .; mv $OUT.zip $OUT", ".zip"),
    Recipe("-r0", "cd long; zip -qr0 $OUT.zip .; mv $OUT.zip $OUT", ".zip"),
    Recipe("streamed", "cd long; zip -qr - . | cat", ".zip"),
    Recipe("-fz", "cd long; zip -qr -fz $OUT.zip .; mv $OUT.zip $OUT", ".zip"),
    Recipe("-Z bzip2", "cd long; zip -qr -Z bzip2 $OUT.zip .; mv $OUT.zip $OUT", ".zip"),
    Recipe("with a comment", "cd long; zip -qr $OUT.zip .; printf 'by hand' | zip -qz $OUT.zip; mv $OUT.zip $OUT", ".zip"),
    Recipe("updated", "cd long; zip -qr $OUT.zip saved_model.pb; zip -qr $OUT.zip .; mv $OUT.zip $OUT", ".zip"),
    Recipe("-y", "cd links; zip -qry $OUT.zip .; mv $OUT.zip $OUT", ".zip", LINKED),
    Recipe("behind a stub", _STUB, ".zip"),
    Recipe("-A, behind a stub", f"{_STUB}; zip -qA $OUT", ".zip"),
    Recipe("in a folder", "cd wrapped; zip -qr $OUT.zip model; mv $OUT.zip $OUT", ".zip", wrap(SHORT), "folder"),
    Recipe("with a password", "cd long; zip -qr -P secret $OUT.zip .; mv $OUT.zip $OUT", ".zip", exception="zip-method"),
)  # fmt: skip

SEVEN_ZIP = (
    *(
        Recipe(f"zip, {method}", f"cd long; 7z a -tzip -mm={method} $OUT.zip . >/dev/null; mv $OUT.zip $OUT", ".zip")
        for method in ("Copy", "Deflate", "BZip2", "LZMA")
    ),
    *(
        Recipe(f"zip, {method}", f"cd long; 7z a -tzip -mm={method} $OUT.zip . >/dev/null; mv $OUT.zip $OUT", ".zip",
               exception="zip-method")
        for method in ("Deflate64", "PPMd")
    ),
    Recipe("tar", "cd long; 7z a -ttar $OUT.tar . >/dev/null; mv $OUT.tar $OUT"),
    Recipe("gzip", f"{_TAR} > t; 7z a -tgzip $OUT.gz t >/dev/null; mv $OUT.gz $OUT", ".tar.gz"),
    Recipe("bzip2", f"{_TAR} > t; 7z a -tbzip2 $OUT.bz2 t >/dev/null; mv $OUT.bz2 $OUT", ".tar.bz2"),
    Recipe("xz", f"{_TAR} > t; 7z a -txz $OUT.xz t >/dev/null; mv $OUT.xz $OUT", ".tar.xz"),
)  # fmt: skip


GROUPS = {
    "GNU tar": Group(("tar",), partial(run_recipes, "GNU tar", GNU_TAR)),
    "compressors": Group(("tar", "gzip", "bzip2", "xz", "zstd"), partial(run_recipes, "compressors", COMPRESSORS)),
    "pigz": Group(("tar", "pigz"), partial(run_recipes, "pigz", PIGZ)),
    "busybox": Group(("busybox",), partial(run_recipes, "busybox", BUSYBOX)),
    "bsdtar": Group(("bsdtar", "tar"), partial(run_recipes, "bsdtar", BSDTAR)),
    "git": Group(("git",), partial(run_recipes, "git", GIT)),
    "Perl": Group(("ptar",), partial(run_recipes, "Perl", PERL)),
    "Info-ZIP": Group(("zip",), partial(run_recipes, "Info-ZIP", INFO_ZIP)),
    "7-Zip": Group(("7z", "tar"), partial(run_recipes, "7-Zip", SEVEN_ZIP)),
}
