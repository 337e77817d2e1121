"""What travels between rooms: what can be asked, and what is answered; typed, frozen, the standard library only.

A field is added in one record; the command's options, the worker's protocol, the panel's parameters and the JSON files follow from it.
"""
