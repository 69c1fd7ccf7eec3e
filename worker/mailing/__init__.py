"""How emails leave: by SMTP, or into files; the links by which one unsubscribes, and their page."""
