"""The words people use in the files they keep: what they call the columns, and what they write into them.

Belongs here: spellings, and what each means. Reading the files is ``sheets``', ``people``'s,
``suppression``'s and ``outcome_files``'.
"""

from collections.abc import Mapping, Sequence

CUSTOMER_NAMES: Mapping[str, Sequence[str]] = {
    "customer_id": ("客户编号", "客户号", "客户id", "会员名", "会员编号", "会员id", "买家会员名"),
    "phone": ("mobile", "telephone", "手机", "手机号", "手机号码", "电话", "电话号码", "联系电话"),
    "email": ("e_mail", "mail", "邮箱", "电子邮箱", "邮件", "电子邮件"),
}
"""The columns that name a customer, each with the other names it goes by."""

CONTACT_NAMES: Mapping[str, Sequence[str]] = {
    **CUSTOMER_NAMES,
    "name": ("姓名", "客户姓名", "收货人", "收货人姓名", "联系人"),
    "wecom_external_userid": ("external_userid", "外部联系人id"),
    "wecom_userid": ("userid", "企业微信账号"),
    "unionid": ("wecom_unionid", "微信unionid"),
    "consent_sms": ("短信同意", "同意短信"),
    "consent_email": ("邮件同意", "同意邮件"),
    "consent_wecom": ("微信同意", "企业微信同意", "同意微信", "同意企业微信"),
}
"""The columns of ``contacts/``."""

OPTOUT_NAMES: Mapping[str, Sequence[str]] = {
    **CUSTOMER_NAMES,
    "channel": ("渠道",),
    "since": ("时间", "日期", "退订时间"),
    "source": ("来源",),
}
"""The columns of ``suppression/``."""

CHANNEL_COLUMNS: Mapping[str, str] = {"sms": "phone", "email": "email", "wecom": "wecom_external_userid"}
"""The channels that messages are sent on, each with the column of its address."""

CHANNEL_WORDS: Mapping[str, str] = {
    "sms": "sms",
    "短信": "sms",
    "email": "email",
    "e-mail": "email",
    "邮件": "email",
    "邮箱": "email",
    "电子邮件": "email",
    "wecom": "wecom",
    "微信": "wecom",
    "企业微信": "wecom",
}
"""What is written for a channel that messages are sent on."""

PHONE = "phone"
CONTACT_WORDS: Mapping[str, str] = {
    **CHANNEL_WORDS,
    "企微": "wecom",
    "phone": PHONE,
    "call": PHONE,
    "电话": PHONE,
    "外呼": PHONE,
}
"""What is written for a way in which the team reached somebody."""

REACHED, NOT_REACHED, REFUSED = "reached", "not_reached", "refused"
OUTCOME_WORDS: Mapping[str, str] = {
    "reached": REACHED,
    "delivered": REACHED,
    "delivrd": REACHED,
    "已触达": REACHED,
    "已联系": REACHED,
    "已接通": REACHED,
    "已送达": REACHED,
    "发送成功": REACHED,
    "not_reached": NOT_REACHED,
    "not reached": NOT_REACHED,
    "failed": NOT_REACHED,
    "undeliv": NOT_REACHED,
    "expired": NOT_REACHED,
    "rejectd": NOT_REACHED,
    "未接通": NOT_REACHED,
    "未触达": NOT_REACHED,
    "未送达": NOT_REACHED,
    "发送失败": NOT_REACHED,
    "refused": REFUSED,
    "opted_out": REFUSED,
    "opted out": REFUSED,
    "拒绝": REFUSED,
    "拒绝联系": REFUSED,
    "退订": REFUSED,
    "已退订": REFUSED,
    "r": REFUSED,
}
"""What is written for what came of it; DELIVRD and its like are the carriers' words in SMS reports."""

# what the work list offers to choose from
CHANNEL_CHOICES = ("短信", "邮件", "企业微信", "电话")
OUTCOME_CHOICES = ("已触达", "未接通", "拒绝联系")
CHANNEL_TITLE, OUTCOME_TITLE, TIME_TITLE = "触达渠道（填）", "触达结果（填）", "触达时间（填）"

OUTCOME_NAMES: Mapping[str, Sequence[str]] = {
    **CUSTOMER_NAMES,
    "week": ("周", "名单周"),
    "coupon_code": ("券码",),
    "channel": ("渠道", "触达渠道", CHANNEL_TITLE),
    "outcome": ("result", "status", "结果", "触达结果", "状态", "发送状态", OUTCOME_TITLE),
    "reached_at": ("time", "sent_at", "时间", "触达时间", "发送时间", TIME_TITLE),
}
"""The columns of a file that says what came of contacting customers."""
