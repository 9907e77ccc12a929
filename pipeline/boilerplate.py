"""Whole lines that belong to a page, not to its text: navigation, copyright, headings of lists that extractors leave out.

The list is short and exact on purpose: a line goes only when nothing but one of these phrases stands on it, whatever its case,
with or without one mark of punctuation at its end (wikiextractor ends headings with a full stop), in or without brackets.
"""

from __future__ import annotations

BOILERPLATE_RULE = "drop_boilerplate_lines@1"

_CHINESE = (
    # headings of what an extractor takes out
    "参考文献", "參考文獻", "参考资料", "參考資料", "参考来源", "參考來源", "参考", "參考", "外部链接", "外部連結",
    "外部鏈接", "外部連接", "相关条目", "相關條目", "参见", "參見", "另见", "另見", "延伸阅读", "延伸閱讀", "扩展阅读",
    "注释", "註釋", "注釋", "脚注", "腳註",
    # navigation and controls
    "编辑", "編輯", "首页", "首頁", "返回首页", "返回顶部", "返回目录", "上一页", "上一頁", "下一页", "下一頁", "上一篇",
    "下一篇", "上一章", "下一章", "目录", "目錄", "登录", "登錄", "登入", "注册", "註冊", "分享", "收藏", "打印",
    "打印本页", "关闭窗口", "点击查看", "查看更多", "阅读全文", "閱讀全文", "查看全文", "展开全文", "加载更多",
    "点击加载更多", "相关阅读", "相关新闻", "相关推荐", "热门推荐", "猜你喜欢", "扫一扫", "微信扫一扫", "分享到微信",
    "分享到朋友圈", "责任编辑", "网站地图", "联系我们", "关于我们", "免责声明", "广告",
    # copyright
    "版权所有", "版權所有", "版权声明", "版权所有，侵权必究", "版权所有 侵权必究", "未经授权，禁止转载",
    "未经许可，不得转载", "转载请注明出处", "保留所有权利", "本文来源于网络",
)  # fmt: skip
_ENGLISH = (
    "references", "external links", "see also", "further reading", "notes and references", "footnotes", "citations", "edit",
    "home", "back to top", "previous page", "next page", "previous", "next", "table of contents", "log in", "login",
    "sign in", "sign up", "register", "share this", "share this article", "share on facebook", "share on twitter",
    "read more", "continue reading", "load more", "show more", "click here", "click here to read more", "related articles",
    "related posts", "you may also like", "subscribe", "print this page", "contact us", "about us", "privacy policy",
    "terms of use", "terms of service", "cookie policy", "site map", "sitemap", "advertisement", "skip to main content",
    "skip to content", "all rights reserved", "copyright", "more spoken articles",
)  # fmt: skip
_AS_WRITTEN = ("Media related to at Wikimedia Commons",)  # what wikiextractor leaves of a template
_ENDS = ("", ".", "。", ":", "：", "…", "...", " »", " >", ">>")


def _lines() -> frozenset[str]:
    phrases = {form for e in _ENGLISH for form in (e, e.capitalize(), e.title(), e.upper())} | set(_CHINESE) | set(_AS_WRITTEN)
    bracketed = {f"{a}{phrase}{b}" for phrase in phrases for a, b in ("[]", "【】", "()", "（）")}
    return frozenset({phrase + end for phrase in phrases for end in _ENDS} | bracketed)


# A set, so that the lines of a document are looked up at the speed of hashing them.
BOILERPLATE_LINES: frozenset[str] = _lines()
