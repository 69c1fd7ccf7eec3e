"""Emails as they are written: blocks become responsive HTML and plain text.

`variables` is what each kind of email knows, `templates` reads what is written and chooses of it,
`rendering` fills it in, `checking` says what is wrong with it before anything is sent, `samples`
makes variables up. Nothing here plans or sends.
"""
