"""The console programs: arguments come in, a sentence and an exit status go out."""
