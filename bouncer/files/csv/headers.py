"""Headers of columns of e-mail addresses, as mail programs, contact books and CRMs write them in many languages."""

import enum
import re
import unicodedata

__all__ = ["Known", "known_as"]


class Known(enum.Enum):
    """Content of a column that a known header names: the address of a contact, or one of several."""

    FIRST = enum.auto()
    FURTHER = enum.auto()


_NAMES = """
    email; e-mail address; e-mail addr; e-mail id; e-mails; e-mail addresses; mail; mail address; mail addr;
    e-mail value; e-mail name; primary email; primary email address; main email; work email; work email address;
    business email; business email address; contact email; customer email; user email; personal email; home email;
    private email; company email; subscriber email; recipient email; billing email; smtp address; primary smtp address;
    E-Mail-Adresse; E-Mail Adressen; Mailadresse; Mail-Adressen; E-Mail geschäftlich; E-Mail privat; Emailadr;
    courriel; adresse e-mail; adresse mail; adresse de messagerie; adresse électronique; adresse courriel; mél;
    correo; correo electrónico; dirección de correo electrónico; dirección de correo; correo-e; dirección e-mail;
    indirizzo e-mail; indirizzo email; posta elettronica; indirizzo di posta elettronica; indirizzo posta elettronica;
    endereço de e-mail; endereço de email; endereço de correio eletrônico; correio eletrônico;
    e-mailadres; emailadres; mailadres; e-postadress; e-post; epost; e-postadresse; e-mailadresse; mailadresse;
    sähköposti; sähköpostiosoite; adres e-mail; adres email; e-mailová adresa; e-mail adresa; e-mail cím;
    адрес электронной почты; электронная почта; эл. почта; почта; e-posta; e-posta adresi;
    メールアドレス; メール; eメール; eメールアドレス; 電子メールアドレス; 電子メール アドレス; emailアドレス;
    电子邮件; 电子邮件地址; 邮箱; 邮箱地址; 電子郵件; 電子郵件地址; 信箱; 이메일; 이메일 주소; 전자 메일 주소
"""
_FURTHER = re.compile(r"(secondary|alternate|alternative|additional|other|second|third)")


def known_as(header: str) -> Known | None:
    """Tells whether a header is known, whatever its case, accents, blanks and punctuation.

    ``E-mail Address`` and ``E-mail 1 - Value`` name the contact's address, ``E-mail 2 Address`` and
    ``Secondary Email`` further ones, of which none is taken by its header.
    """
    plain = _plain(header)
    if plain in _KNOWN:
        return Known.FIRST
    number = re.fullmatch(r"(\D+)(\d{1,2})(\D*)", plain)
    if number is not None and number[1] + number[3] in _KNOWN:
        return Known.FIRST if int(number[2]) == 1 else Known.FURTHER
    without = _FURTHER.sub("", plain)
    return Known.FURTHER if without != plain and without in _KNOWN else None


def _plain(header: str) -> str:
    letters = unicodedata.normalize("NFKD", header.casefold())
    return "".join(letter for letter in letters if letter.isalnum())


_KNOWN = frozenset(map(_plain, _NAMES.split(";")))
