#!/usr/bin/env python3
"""Sends requests to a site with curl, as its visitors, crawlers and clients send them: in bursts, about 50 a second.

    requests.py BASE_URL COUNT SEED FILE...     FILEs are what the site serves, by name
"""

import random
import subprocess
import sys
import time

AGENTS = [
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.4 Safari/605.1.15",
    "Mozilla/5.0 (X11; Linux x86_64; rv:127.0) Gecko/20100101 Firefox/127.0",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148",
    "Mozilla/5.0 (compatible; examplebot/2.1; +http://www.example.com/bot.html)",
    "curl/8.8.0", "python-requests/2.32.3", "kube-probe/1.29", "Go-http-client/2.0",
]
MISSING = ["/wp-login.php", "/favicon.ico", "/robots.txt", "/.git/config", "/admin/", "/index.php?page=2", "/old/price-list.pdf"]


BURST = 50


def request(chance, base, files):
    """The lines of a curl configuration for one request."""
    path = "/" + chance.choice(files) if chance.random() < 0.85 else chance.choice(MISSING)
    lines = ["silent", f'url = "{base}{path}"', 'output = "/dev/null"', 'header = "Host: www.example.com"',
             f'user-agent = "{chance.choice(AGENTS)}"', f'interface = "127.0.0.{chance.randint(2, 40)}"']
    if chance.random() < 0.3:
        lines.append(f'referer = "http://www.example.com/{chance.choice(files)}"')
    kind = chance.random()
    if kind < 0.06:
        lines.append("head")
    elif kind < 0.10:
        lines.append(f'data = "q={chance.randint(1, 99)}"')
    elif kind < 0.14:
        lines.append(f'range = "{chance.choice(["0-99", "100-", "999999999-"])}"')
    elif kind < 0.20:
        lines.append('header = "If-Modified-Since: Fri, 01 Jan 2100 00:00:00 GMT"')
    elif kind < 0.22:
        lines.append('request = "DELETE"')
    return "\n".join(lines)


def main():
    base, count, seed, files = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4:]
    chance = random.Random(seed)
    for _ in range(0, count, BURST):
        config = "\nnext\n".join(request(chance, base, files) for _ in range(BURST))
        subprocess.run(["curl", "-K", "-"], input=config.encode(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
        time.sleep(chance.random() * 2)


if __name__ == "__main__":
    main()
