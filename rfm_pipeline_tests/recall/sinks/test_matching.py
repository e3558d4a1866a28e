"""Which WeCom contacts are which customers: only what is clear counts."""

from collections.abc import Sequence
from typing import Any

import hypothesis.strategies as st
import polars as pl
from hypothesis import given

from rfm_pipeline.recall.sinks.matching import Matches, contact_frame, match_contacts
from rfm_pipeline.wecom.model import Contact

PHONE, OTHER_PHONE = "+8613800000001", "+8613800000002"
_PEOPLE = dict.fromkeys(
    ("customer_id", "phone", "unionid", "wecom_external_userid", "wecom_userid"), pl.String
)


def matched(people: Sequence[dict[str, str]], contacts: Sequence[Contact]) -> Matches:
    return match_contacts(pl.DataFrame(people, schema=_PEOPLE), contact_frame(contacts), "CN")


def pairs(matches: Matches) -> set[tuple[str, str, str]]:
    return set(matches.pairs.iter_rows())


def of(userid: str, external_userid: str, **other: Any) -> Contact:
    return Contact(userid, external_userid, **other)


def test_the_shops_mapping_names_the_contact_of_all_its_staff() -> None:
    found = matched(
        [{"customer_id": "a", "wecom_external_userid": "x"}], [of("li", "x"), of("wang", "x"), of("li", "y")]
    )
    assert pairs(found) == {("a", "li", "x"), ("a", "wang", "x")}


def test_a_mapping_may_name_one_member_of_staff() -> None:
    people = [{"customer_id": "a", "wecom_external_userid": "x", "wecom_userid": "wang"}]
    assert pairs(matched(people, [of("li", "x"), of("wang", "x")])) == {("a", "wang", "x")}


def test_a_mapping_to_several_contacts_means_all_of_them() -> None:
    people = [{"customer_id": "a", "wecom_external_userid": name} for name in "xy"]
    assert pairs(matched(people, [of("li", "x"), of("li", "y")])) == {("a", "li", "x"), ("a", "li", "y")}


def test_a_unionid_is_found_in_contacts_and_as_the_customers_id() -> None:
    people = [{"customer_id": "a", "unionid": "u1"}, {"customer_id": "u2"}]
    found = matched(people, [of("li", "x", unionid="u1"), of("li", "y", unionid="u2")])
    assert pairs(found) == {("a", "li", "x"), ("u2", "li", "y")}


def test_a_phone_number_matches_however_staff_typed_it() -> None:
    people = [{"customer_id": "a", "phone": PHONE}]
    for typed in ("13800000001", "138 0000 0001", "+86-138-0000-0001"):
        assert pairs(matched(people, [of("li", "x", remark_mobiles=(typed,))])) == {("a", "li", "x")}


def test_a_masked_or_cut_number_matches_nobody() -> None:
    people = [{"customer_id": "a", "phone": PHONE}]
    for typed in ("138****0001", "1380000000", ""):
        found = matched(people, [of("li", "x", remark_mobiles=(typed,))])
        assert pairs(found) == set()
        assert found.counts(pl.DataFrame({"customer_id": ["a"]})) == {
            "matched": 0,
            "ambiguous": 0,
            "unmatched": 1,
        }


def test_a_phone_number_of_two_customers_is_nobodys() -> None:
    people = [{"customer_id": name, "phone": PHONE} for name in "ab"]
    found = matched(people, [of("li", "x", remark_mobiles=("13800000001",))])
    assert pairs(found) == set()
    assert found.ambiguous["customer_id"].to_list() == ["a", "b"]


def test_a_phone_number_that_leads_to_two_people_leads_nowhere() -> None:
    people = [{"customer_id": "a", "phone": PHONE}]
    contacts = [of("li", name, remark_mobiles=("13800000001",)) for name in "xy"]
    found = matched(people, contacts)
    assert pairs(found) == set()
    assert found.ambiguous["customer_id"].to_list() == ["a"]


def test_a_contact_with_the_numbers_of_two_customers_is_nobodys() -> None:
    people = [{"customer_id": "a", "phone": PHONE}, {"customer_id": "b", "phone": OTHER_PHONE}]
    contacts = [
        of("li", "x", remark_mobiles=("13800000001",)),
        of("wang", "x", remark_mobiles=("13800000002",)),
    ]
    assert pairs(matched(people, contacts)) == set()


def test_two_customers_mapped_to_one_contact_are_both_left_alone() -> None:
    people = [{"customer_id": name, "wecom_external_userid": "x"} for name in "ab"]
    found = matched(people, [of("li", "x")])
    assert pairs(found) == set()
    assert found.ambiguous["customer_id"].to_list() == ["a", "b"]


def test_the_mapping_goes_before_a_phone_number_on_either_side() -> None:
    people = [
        {"customer_id": "a", "wecom_external_userid": "x", "phone": OTHER_PHONE},
        {"customer_id": "b", "phone": PHONE},
    ]
    contacts = [
        of("li", "x", remark_mobiles=("13800000001",)),
        of("li", "y", remark_mobiles=("13800000002",)),
    ]
    found = matched(people, contacts)
    # x is a's by the shop's word, so b's number on it says nothing; a's number on y says nothing either
    assert pairs(found) == {("a", "li", "x")}
    assert found.ambiguous["customer_id"].to_list() == ["b"]


def test_a_mapping_to_a_contact_that_is_gone_is_not_replaced_by_a_guess() -> None:
    people = [{"customer_id": "a", "wecom_external_userid": "gone", "phone": PHONE}]
    assert pairs(matched(people, [of("li", "y", remark_mobiles=("13800000001",))])) == set()


_names = st.sampled_from("abcd")
_externals = st.sampled_from("wxyz")
_numbers = st.sampled_from(["13800000001", "13800000002", "13800000003"])


@given(
    st.lists(st.tuples(_names, st.none() | _externals, st.none() | _externals, st.none() | _numbers)),
    st.lists(st.tuples(st.sampled_from(["li", "wang"]), _externals, st.lists(_numbers, max_size=2))),
)
def test_matches_are_those_of_a_plain_reading(rows: list[Any], answered: list[Any]) -> None:
    people = [
        {
            "customer_id": name,
            "wecom_external_userid": mapped,
            "unionid": None if union is None else f"union {union}",
            "phone": None if phone is None else f"+86{phone}",
        }
        for name, mapped, union, phone in rows
    ]
    contacts = {
        (userid, external): of(userid, external, unionid=f"union {external}", remark_mobiles=tuple(mobiles))
        for userid, external, mobiles in answered
    }
    found = match_contacts(pl.DataFrame(people, schema=_PEOPLE), contact_frame(contacts.values()), "CN")
    assert pairs(found) == plainly_matched(people, list(contacts.values()))


def plainly_matched(people: list[dict[str, Any]], contacts: list[Contact]) -> set[tuple[str, str, str]]:
    """The words of the module, read one customer at a time."""
    known = {contact.external_userid for contact in contacts}

    def claims(name: str) -> tuple[int, set[str]]:
        mine = [row for row in people if row["customer_id"] == name]
        mapped = {row["wecom_external_userid"] for row in mine} - {None}
        unions = {row["unionid"] for row in mine} - {None}
        phones = {row["phone"] for row in mine} - {None}
        by_union = {contact.external_userid for contact in contacts if contact.unionid in unions}
        by_phone = {
            contact.external_userid
            for contact in contacts
            if any(f"+86{typed}" in phones for typed in contact.remark_mobiles)
        }
        for trust, found in ((1, mapped), (2, by_union), (3, by_phone)):
            if found:
                return trust, found & known
        return 4, set()

    said = {row["customer_id"]: claims(row["customer_id"]) for row in people}
    result = set()
    for name, (trust, externals) in said.items():
        for external in externals:
            rivals = [other for other, (_, theirs) in said.items() if external in theirs and other != name]
            if any(said[rival][0] <= trust for rival in rivals):
                continue
            if trust == 3 and len(externals) > 1:
                continue
            result |= {
                (name, contact.userid, external)
                for contact in contacts
                if contact.external_userid == external
            }
    return result
