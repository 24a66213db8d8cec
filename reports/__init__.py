"""What is told of predictions: their table, and a report on where they go wrong.

`results` says what every kind of results has; a file each says what is told of labels,
of several labels, of scores, of tags and of answers; `page` and `drawing` show it,
`files` writes it, and reads tables again for who compares them.
"""
