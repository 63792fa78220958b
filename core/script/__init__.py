"""Which program runs, and where values go into it.

scopes        which binding a name means
reads         where names are read
substitution  values written into the text
"""
