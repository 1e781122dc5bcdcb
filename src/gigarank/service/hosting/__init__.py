"""Models of this machine behind the server's border: brought into memory when asked for, put to sleep when room is needed.

    specs    which models, by what names                      loader   a checkpoint: what it will take, and the model itself
    room     who sleeps so that another fits (pure)            trial    whether a loaded model may be served
    slot     one model's life                                  pool     all models within one memory budget
    host     requests to workers: the ScoringBackend

`specs` and `options` import no torch; the rest does.
"""
