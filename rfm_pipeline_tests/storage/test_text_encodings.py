"""Which encoding a file has, the same for orders and for contacts."""

import pytest

from rfm_pipeline.storage.text_encodings import codec_name, possible_encodings, whole_encoding

TEXT = "客户编号,手机\n会员一,13800000001\n"


@pytest.mark.parametrize(
    ("content", "encoding"),
    [
        (b"customer_id\nc1\n", "utf-8"),
        (TEXT.encode(), "utf-8"),
        (TEXT.encode("utf-8-sig"), "utf-8-sig"),
        (TEXT.encode("gbk"), "gb18030"),
        ("名\n".encode("gbk"), "gb18030"),
        (b"", "utf-8"),
    ],
)
def test_a_whole_file_has_one_encoding(content: bytes, encoding: str) -> None:
    assert whole_encoding(content) == encoding


@pytest.mark.parametrize(
    "content",
    [
        TEXT.encode()[:-14],  # cut within a character
        TEXT.encode().replace("会".encode(), b"\xff\xfe\xfd"),
        TEXT.encode("utf-8-sig") + b"\xff",
        TEXT.encode("utf-16"),
        b"customer_id\nc1\0\n",
        b"customer_id\n\xff\xff\n",
    ],
)
def test_a_file_with_broken_characters_has_none(content: bytes) -> None:
    with pytest.raises(UnicodeError):
        whole_encoding(content)


@pytest.mark.parametrize(
    ("head", "likeliest"),
    [
        (TEXT.encode("utf-8-sig"), "utf-8"),
        (TEXT.encode("utf-16"), "utf-16-le"),
        (b"\xfe\xff" + TEXT.encode("utf-16-be"), "utf-16-be"),
        ("a,b\nc,d\n".encode("utf-16-le"), "utf-16-le"),
        ("a,b\nc,d\n".encode("utf-16-be"), "utf-16-be"),
        (TEXT.encode("gbk"), "gb18030"),
        (TEXT.encode()[:-14], "utf-8"),
        ("price\n£5\n".encode("cp1252"), "cp1252"),
    ],
)
def test_a_files_beginning_names_the_likeliest_encoding_first(head: bytes, likeliest: str) -> None:
    usual = ("cp1252",) if likeliest == "cp1252" else ("gb18030",)
    assert possible_encodings(head, usual)[0] == likeliest


@pytest.mark.parametrize(("name", "codec"), [("GBK", "gb18030"), ("utf_8", "utf-8"), ("UTF-8-SIG", "utf-8")])
def test_an_encodings_names_are_one(name: str, codec: str) -> None:
    assert codec_name(name) == codec
