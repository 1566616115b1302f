"""Generated from `proto/midstream/v1`: the messages and the stubs of the contract."""
