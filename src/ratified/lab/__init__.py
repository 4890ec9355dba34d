"""The textbook cases: small clusters whose end state was published, so that a core can be held against it.

Rules of this package:

1. The engines are the production ones, each as its table row's ``textbook`` makes it, with ``Options.textbook()``;
   nothing here knows their insides. What a dump says of term, vote and log is read from what the engine asked the log
   to write.
2. Every number is ``sm(seed ^ small integers)``; there is no generator state and no clock.
"""
