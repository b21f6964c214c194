"""What scripts expect of calls."""


def fails(word, call, *args, **options):
    """The call must fail with this word."""
    try:
        call(*args, **options)
    except RuntimeError as error:
        assert word in str(error), error
    else:
        raise AssertionError(f"{call.__name__}{args} did not fail")


def same(found, wanted):
    assert found == wanted, f"{found!r} is not {wanted!r}"
