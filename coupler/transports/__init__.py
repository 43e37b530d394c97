"""One module per transport; `interface` says what each offers to `link` and `server`."""
