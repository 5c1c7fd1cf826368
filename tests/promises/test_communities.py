"""Communities: they state their value, open, and let members in."""

from tests.service import STATED, Service


async def test_a_community_states_its_value_before_it_opens(service: Service) -> None:
    made = (await service.ops("POST", "communities", {"name": "茶友"})).json()
    path = f"communities/{made['id']}"
    refused = await service.ops("POST", f"{path}/open")
    assert (refused.status_code, refused.json()["code"]) == (409, "value_unstated")
    assert refused.json()["missing"] == "audience, need, benefits, sustained_by, posting_rules"
    assert (await service.http.get(f"/v1/{path}")).status_code == 404
    stated = {name: text for name, text in STATED.items() if name != "name"}
    assert (await service.ops("PATCH", path, stated)).status_code == 200
    assert (await service.ops("POST", f"{path}/open")).json()["state"] == "open"
    shown = (await service.http.get(f"/v1/{path}")).json()
    assert {name: shown[name] for name in stated} == stated


async def test_members_join_and_are_counted_once(service: Service) -> None:
    owner, member = await service.members(2)
    community = await service.community(owner)
    for _ in range(2):
        await member.enrol(community)
    shown = (await member.get(f"/v1/communities/{community['id']}")).json()
    assert (shown["member_count"], shown["standing"]) == (2, "member")
    assert (await owner.get(f"/v1/communities/{community['id']}")).json()["standing"] == "owner"
