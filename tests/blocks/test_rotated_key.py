"""A key that is changed in the UI is used by the next request, without a restart."""

from typing import cast

import pytest
from pydantic import SecretStr

from blocks.access import open_access
from blocks.bouncer_account import BouncerAccount
from bouncer.errors import KeyRefused
from tests.bouncer.storage.existing_tables import on_sqlite
from tests.conftest import SetUpAccount
from tests.sandbox_process import SandboxHandle

pytestmark = pytest.mark.mainline


@on_sqlite
async def test_a_rotated_key_is_used_at_once(set_up_account: SetUpAccount, sandbox: SandboxHandle) -> None:
    """A client that runs goes on with the new key as soon as it is saved in the block."""
    await set_up_account()
    async with open_access("default", "a caller") as access:
        assert await access.client.credits() > 0
        sandbox.post("/_sandbox/keys", {"key": "new-key", "credits": 77})
        sandbox.revoke(sandbox.key)
        with pytest.raises(KeyRefused):
            await access.client.credits()
        account = cast("BouncerAccount", await BouncerAccount.aload("default"))
        await account.model_copy(update={"api_key": SecretStr("new-key")}).asave("default", overwrite=True)
        assert await access.client.credits() == 77
