"""The data core, in Rust (crates/ripstop-python)."""

def check(type_url: str, body: bytes) -> list[tuple[str, str]]:
    """Every fault that the native data plane finds in a resource, as (path, problem); empty when it takes it.

    A type of resource that it does not know is a ValueError.
    """
