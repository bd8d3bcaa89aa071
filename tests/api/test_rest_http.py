"""What REST adds to the API itself: entity tags, links to the next page, compression."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.gateway import Api, running_gateway


async def test_entity_tags_guard_a_pool(tmp_path: Path) -> None:
    async with running_gateway(tmp_path) as api:
        pool_id = await api.make_pool("a")
        async with api.rest.session.get(f"{api.rest.base}/v1/pools/{pool_id}") as answer:
            tag = answer.headers["ETag"]
            assert tag == f'"{(await answer.json())["etag"]}"'
        unchanged = {"If-None-Match": tag}
        async with api.rest.session.get(f"{api.rest.base}/v1/pools/{pool_id}", headers=unchanged) as answer:
            assert (answer.status, await answer.read()) == (304, b"")
        change = {"max_nodes": 3, "update_mask": "maxNodes"}
        status, changed = await api.rest.call("PATCH", f"/v1/pools/{pool_id}", change, headers={"If-Match": tag})
        assert (status, changed["max_nodes"]) == (200, 3)
        assert f'"{changed["etag"]}"' != tag
        status, stale = await api.rest.call("PATCH", f"/v1/pools/{pool_id}", change, headers={"If-Match": tag})
        assert (status, stale["error"]["status"]) == (409, "ABORTED")
        assert {detail.get("reason") for detail in stale["error"]["details"]} & {"ETAG_MISMATCH"}
        status, _ = await api.rest.call("PATCH", f"/v1/pools/{pool_id}", change, headers={"If-Match": "*"})
        assert status == 200


@pytest.mark.parametrize("mask", ["maxNodes,isActive", "max_nodes,is_active"])
async def test_a_mask_may_spell_fields_either_way(tmp_path: Path, mask: str) -> None:
    async with running_gateway(tmp_path) as api:
        pool_id = await api.make_pool("a")
        change = {"max_nodes": 3, "is_active": False, "update_mask": mask}
        status, changed = await api.rest.call("PATCH", f"/v1/pools/{pool_id}", change)
        assert (status, changed["max_nodes"], changed["is_active"]) == (200, 3, False)


async def pages(api: Api, url: str) -> list[str]:
    """Ids of all pools, page by page, as a client that knows nothing but the links reads them."""
    found: list[str] = []
    while url:
        async with api.rest.session.get(url) as answer:
            assert answer.status == 200
            found += [pool["pool_id"] for pool in (await answer.json())["pools"]]
            url = str(answer.links["next"]["url"]) if answer.links else ""
        assert len(found) < 100
    return found


@pytest.mark.parametrize("path", ["/v1/pools?page_size=2", "/deployment/listPools/ann?page_size=2"])
async def test_links_lead_through_all_pages(tmp_path: Path, path: str) -> None:
    async with running_gateway(tmp_path) as api:
        made = [await api.make_pool(f"p{number}") for number in range(5)]
        assert await pages(api, api.rest.base + path) == made[::-1]


async def test_own_metadata_stays_inside(tmp_path: Path) -> None:
    async with running_gateway(tmp_path) as api:
        headers = {"TE": "trailers", "X-Request-Id": "mine"}
        async with api.rest.session.get(f"{api.rest.base}/v1/pools", headers=headers) as answer:
            assert answer.headers["X-Request-Id"] == "mine"
            assert not [name for name in answer.headers if name.lower().startswith(("grpc-", "trailer"))]
