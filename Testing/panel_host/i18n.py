"""`slicer.i18n`: texts as they are in the source, since the host has no translations."""


def translate(context: str, text: str) -> str:
    return text


def tr(text: str) -> str:
    return text
