"""Requests are copied for shadows: HAProxy's rules for it. No effects here.

A rule of Lua takes what is in HAProxy's memory and hands it to the :mod:`~flyteray._ingress.copies.copier`, a process
beside, in a task of its own: the request goes on at once, whatever becomes of that. The copier asks HAProxy for it as
any client would, at a frontend that leads to the shadow, so that its replicas are chosen, woken, counted and spared as
those of any version. The other ways are worse: a filter of SPOE sits in the way of every request and waits for who
looks at the copy, what mirrors in Python has the live request pass through Python, and a service of Lua, which the
copier would ask for copies, leaves 56 bytes in HAProxy for each time that it has waited, until its connection ends.

Of an app without a shadow a request costs one look into a map.
"""

from __future__ import annotations

from flyteray._ingress.copies import marks
from flyteray._ingress.entry.pace import GRACE_S, MEASURED_S, SLOWEST
from flyteray._ingress.haproxy import limits, maps
from flyteray._ingress.seen import lines
from flyteray._plan.traffic.shadow import LARGEST_BODY, PARTS

COPIER_SOCKET = "copier.sock"  # where the copier takes what is to be copied
COPIES_SOCKET = "copies.sock"  # where HAProxy takes copies
MARK_HEADER = "X-Flyteray-Copy"  # tells HAProxy for which backend a copy is, and its mark
SHADOW_HEADER = "X-Flyteray-Shadow"  # tells the app that it is one
MOST_OPEN = 32  # copies at one time for each shadow
_TASKS = 4 * MOST_OPEN  # for those of all shadows; others wait until one is free

# For a body to arrive: HAProxy gives the request up after that, so it is longer than any body takes that comes at the
# pace which all must have.
_ARRIVES_S = round(GRACE_S + MEASURED_S) + LARGEST_BODY // SLOWEST
_GIVEN_UP_S = 3600  # for a copy, as for any request

# Of one connection, or said anew of the copy.
_NOT_COPIED = (
    *("connection", "keep-alive", "proxy-connection", "upgrade", "te", "trailer", "transfer-encoding"),
    *("content-length", "expect", maps.CHOSEN.lower(), maps.RANK.lower()),
)

COPIED = f"""\
    # a share of the requests that the serving version answers is copied for a version whose answers nobody gets
    http-request set-var(req.shadow) var(txn.app),map_str({maps.SHADOWS})
    acl has_shadow var(req.shadow) -m found
    acl copied_elsewhere var(txn.asked_by_peer) -m found
    http-request allow if !has_shadow || copied_elsewhere
    http-request set-var(req.beside) var(req.shadow),field(3,/)
    http-request set-var(req.parts) var(req.shadow),field(4,/),add(0)
    acl answers_live var(txn.backend),strcmp(req.beside) eq 0
    acl only_safe var(req.shadow),field(5,/) -m str {maps.SAFE_METHOD}
    acl is_safe method GET HEAD OPTIONS
    http-request unset-var(req.shadow) if has_shadow only_safe !is_safe
    acl falls_to_shadow rand({PARTS}),sub(req.parts) lt 0
    http-request set-var(req.copied) var(req.shadow),field(1,/) if has_shadow answers_live falls_to_shadow
    acl copied var(req.copied) -m found
    acl left_out var(req.left_out) -m found
    acl switches req.hdr(upgrade) -m found
    acl grpc var(txn.grpc) -m found
    acl sized req.hdr(content-length) -m found
    acl never_ends req.hdr(accept) -m sub text/event-stream
    http-request set-var(req.left_out) str(kind) if copied switches || copied grpc || copied never_ends
    http-request set-var(req.left_out) str(large) if copied !left_out {{ req.hdr(content-length) -m int gt \
{LARGEST_BODY} }}
    http-request wait-for-body time {_ARRIVES_S}s if copied !left_out !whole sized
    http-request set-var(req.left_out) str(large) if copied !left_out !whole
    http-request set-var-fmt(txn.copy) %[var(req.copied)]{marks.LEFT_OUT}%[var(req.left_out)] if copied left_out
    http-request set-var-fmt(req.number) "{lines.NUMBER}" if copied !left_out
    http-request lua.copy if copied !left_out"""
"""Copies requests. It comes last of all that is done to a request, as a copy is what that has become."""


def frontend(seen: str, bodies: str) -> str:
    """The frontend where copies come, with what it has in common with the others."""
    return f"""\
frontend copies
    bind unix@{COPIES_SOCKET} mode 600
    unique-id-format "%[var(txn.backend)] %[var(txn.app)] {marks.IS_COPY}"
{seen}
{bodies}
    http-request set-var(txn.backend) req.hdr({MARK_HEADER}),field(1,/)
    http-request set-var(txn.copy) req.hdr({MARK_HEADER}),field(2,/)
    http-request del-header {MARK_HEADER}
    http-request set-var(txn.app) var(txn.backend),map_str({maps.OWNERS})
    http-request reject unless {{ var(txn.app) -m found }}
    http-request set-var(txn.timeout) var(txn.app),map_str_int({maps.TIMEOUTS},3600000)
    # the app's name is not in the path any more
    http-request set-var(txn.by_host) bool(true)
    # users' requests that name the version go first
    http-request set-var(txn.rank) str(low)
    acl ranked var(txn.rank) -m found
{limits.RANKED}
    use_backend %[var(txn.backend)]
"""


LUA = f"""\
-- Requests are copied for shadows; the request itself goes on at once. Cookies of the login are taken out above.
local not_copied = {{{", ".join(f'["{name}"] = true' for name in _NOT_COPIED)}}}
local open = {{}}  -- how many copies have not ended, by shadow
local handed = core.queue()

local function reached()
  local copier = core.tcp()
  copier:settimeout({_GIVEN_UP_S})
  if copier:connect("unix@{COPIER_SOCKET}") then return copier end
end

-- whether the copier has said that a copy has ended
local function done(copier, copy)
  return copier and copier:send(copy) and copier:receive("*l")
end

-- As many tasks as there may be copies at one time, each with a connection that stays: HAProxy is at its weakest where
-- Lua makes sockets and drops them.
for _ = 1, {_TASKS} do
  core.register_task(function()
    local copier
    while true do
      local shadow, copy = table.unpack(handed:pop_wait())
      pcall(function()
        if done(copier, copy) then return end
        copier = reached()  -- there is none yet, or that on the other side is gone
        if not done(copier, copy) then copier = nil end
      end)
      open[shadow] = open[shadow] > 1 and open[shadow] - 1 or nil
    end
  end)
end

core.register_action("copy", {{"http-req"}}, function(txn)
  local shadow = txn:get_var("req.copied")
  if (open[shadow] or 0) >= {MOST_OPEN} then
    txn:set_var("txn.copy", shadow .. "{marks.LEFT_OUT}many")
    return
  end
  local body = txn.sf:req_body()
  local path = txn.sf:pathq()
  if path == "" then path = "*" end
  local copy = {{txn.sf:method() .. " " .. path .. " HTTP/1.1\\r\\n"}}
  local headers = txn.http:req_get_headers()
  -- an app may be given its callers' keys; a copy has none in any case
  local bears_key = txn:get_var("req.key") and not txn:get_var("req.by_cookie")
  local function put(name, value) copy[#copy + 1] = name .. ": " .. value .. "\\r\\n" end
  for name, values in pairs(headers) do
    if name == "cookie" then
      for _, value in ipairs(without_login(values)) do put(name, value) end
    elseif not not_copied[name] and not (name == "authorization" and bears_key) then
      for number = 0, #values do put(name, values[number]) end
    end
  end
  local backend = txn:get_var("req.shadow"):match("/(.-)/")
  put("{MARK_HEADER}", backend .. "/" .. shadow .. "{marks.COPY}" .. txn:get_var("req.number"))
  put("{SHADOW_HEADER}", "1")
  put("Connection", "close")
  if headers["content-length"] then put("Content-Length", #body) end
  copy[#copy + 1] = "\\r\\n" .. body
  local whole = table.concat(copy)
  open[shadow] = (open[shadow] or 0) + 1  -- before a task can count it out
  handed:push({{shadow, #whole .. "\\n" .. whole}})
  txn:set_var("txn.copy", shadow .. "{marks.MADE}" .. txn.sf:date(0, "us"))
end)
"""
