// The desk's page. Texts from the API only ever become text nodes.
"use strict";

const $ = (id) => document.getElementById(id);
const make = (tag, text, className) => {
  const element = document.createElement(tag);
  if (text !== undefined) element.textContent = text;
  if (className) element.className = className;
  return element;
};

// clockAhead is how far the desk's clock is ahead of this browser's, in ms.
let clockAhead = 0;
let longestWindow = Infinity; // ms; what is older has expired
const now = () => Date.now() + clockAhead;

const utc = (time, fraction = 3) => {
  const text = new Date(time).toISOString();
  return text.slice(0, 10) + " " + text.slice(11, fraction ? 20 + fraction : 19);
};

// spell gives a duration in its two largest units: "90 s", "15 min", "3 h 20 min".
const spell = (seconds) => {
  seconds = Math.max(0, Math.round(seconds));
  if (seconds < 100) return `${seconds} s`;
  const two = (large, name, small, rest) => {
    const left = Math.floor((seconds % large) / small);
    return `${Math.floor(seconds / large)} ${name}` + (left ? ` ${left} ${rest}` : "");
  };
  if (seconds < 6000) return two(60, "min", 1, "s");
  if (seconds < 172800) return two(3600, "h", 60, "min");
  return two(86400, "d", 3600, "h");
};

// ---- the strip of epochs

let retention = null;

async function readRetention() {
  if (document.hidden) return;
  try {
    const response = await fetch("/v1/retention", { cache: "no-store" });
    if (!response.ok) throw new Error("refused");
    retention = await response.json();
    clockAhead = Date.parse(retention.time) - Date.now();
    longestWindow = Math.max(0, ...retention.policies.map((p) => p.window_seconds * 1000)) || Infinity;
    $("retention-state").hidden = true;
  } catch {
    $("retention-state").hidden = false;
    $("retention-state").textContent = "The desk does not answer; what is shown below may be out of date.";
  }
}

function drawRetention() {
  if (!retention) return;
  for (const policy of retention.policies) drawPolicy(policy);
  const names = new Set(retention.policies.map((p) => "policy-" + p.name));
  for (const old of [...$("policies").children]) if (!names.has(old.id)) old.remove();
}

function drawPolicy(policy) {
  const box = $("policy-" + policy.name) || newPolicy(policy.name);
  const [title, strip, legend] = box.children;
  const live = policy.epochs.filter((e) => e.state === "live");
  const due = policy.epochs.filter((e) => e.state === "due");
  const purged = policy.epochs.filter((e) => e.state === "purged");
  const next = Math.min(...live.map((e) => Date.parse(e.deadline)));
  title.children[0].textContent = policy.name;
  title.children[1].textContent = `kept ${spell(policy.window_seconds)}, in epochs of ${spell(policy.epoch_seconds)}` + (policy.basis ? ` · ${policy.basis}` : "");
  title.children[2].textContent = Number.isFinite(next) ? `next purge in ${spell((next - now()) / 1000)}` : "nothing is kept";
  drawStrip(strip, policy);
  legend.replaceChildren(
    count(live.length, "live"),
    count(due.length, due.length ? "overdue: past the deadline, purge not verified" : "overdue", due.length > 0),
    count(purged.length, "purged"),
    ...lag(purged),
    ...keys(live));
  strip.setAttribute("aria-label", `${policy.name}: ${live.length} live epochs, ${due.length} due, ${purged.length} purged`);
}

function newPolicy(name) {
  const box = make("div", undefined, "policy");
  box.id = "policy-" + name;
  const title = make("h3");
  title.append(make("strong"), make("span"), make("span", "", "next"));
  const strip = make("ol", undefined, "strip");
  strip.setAttribute("role", "img");
  box.append(title, strip, make("ul", undefined, "legend"));
  $("policies").append(box);
  return box;
}

function count(n, word, alarm) {
  const item = make("li", undefined, alarm ? "alarm" : "");
  item.append(make("b", String(n)), " " + word);
  return item;
}

function lag(purged) {
  const lags = purged.map((e) => e.purge_lag_ms).filter((ms) => ms !== undefined);
  if (!lags.length) return [];
  const item = make("li", "slowest of these purges ");
  item.append(make("b", `${Math.max(...lags)} ms`), " after the deadline");
  return [item];
}

function keys(live) {
  const started = live.filter((e) => Date.parse(e.start) <= now() && e.key_nodes > 0);
  if (!started.length) return [];
  const item = make("li", "keys on ");
  item.append(make("b", `${Math.min(...started.map((e) => e.key_nodes))} of ${retention.keyring_nodes}`), " keyring nodes");
  return [item];
}

function drawStrip(strip, policy) {
  const seen = new Set();
  for (const epoch of policy.epochs) {
    seen.add(epoch.epoch);
    let bar = [...strip.children].find((b) => b.dataset.epoch === epoch.epoch);
    if (!bar) {
      bar = make("li");
      bar.dataset.epoch = epoch.epoch;
      strip.append(bar);
    }
    const left = Math.min(1, Math.max(0, (Date.parse(epoch.deadline) - now()) / (policy.window_seconds * 1000)));
    bar.className = epoch.state !== "live" ? epoch.state : left < 0.1 ? "last" : left < 0.35 ? "old" : "young";
    if (epoch.state === "live") bar.style.setProperty("--left", `${Math.round(6 + 94 * left)}%`);
    bar.title = `${utc(epoch.start, 0)} to ${utc(epoch.end, 0)} UTC\n` + {
      live: `unreadable in ${spell((Date.parse(epoch.deadline) - now()) / 1000)}; key on ${epoch.key_nodes} of ${retention.keyring_nodes} nodes`,
      due: "its deadline has passed and its purge is not verified",
      purged: epoch.purge_lag_ms === undefined ? "purged" : `purged ${epoch.purge_lag_ms} ms after its deadline`,
    }[epoch.state];
  }
  for (const bar of [...strip.children]) if (!seen.has(bar.dataset.epoch)) bar.remove();
}

// ---- the form

const fields = { ip: "subject", prefix: "subject", account: "subject", port: "port", at: "at", tolerance: "tolerance", case: "case", reason: "reason" };
const kinds = {
  ip: ["IP address", "203.0.113.7 or 2001:db8::1"],
  prefix: ["Prefix", "203.0.113.0/24 or 2001:db8::/48"],
  account: ["Account", "exactly as the events name it"],
};
const kind = () => document.querySelector("input[name=kind]:checked").value;

function chooseKind() {
  [$("subject-label").textContent, $("subject").placeholder] = kinds[kind()];
}

function question() {
  const q = { case: $("case").value.trim(), reason: $("reason").value };
  q[kind()] = $("subject").value.trim();
  for (const name of ["at", "tolerance"]) if ($(name).value.trim()) q[name] = $(name).value.trim();
  const port = $("port").value.trim();
  if (port) q.port = /^\d+$/.test(port) ? Number(port) : port; // the desk says what is wrong with it
  return q;
}

function complain(id, message) {
  $(id).setAttribute("aria-invalid", "true");
  $(id + "-error").textContent = message;
}

function forgive() {
  for (const id of new Set(Object.values(fields))) {
    $(id).removeAttribute("aria-invalid");
    $(id + "-error").textContent = "";
  }
}

function missing() {
  const empty = ["subject", "case", "reason"].filter((id) => !$(id).value.trim());
  for (const id of empty) complain(id, "needed");
  if (empty.length) $(empty[0]).focus();
  return empty.length > 0;
}

let turn = 0; // of the latest question: an answer to an earlier one is dropped

async function ask(event) {
  event.preventDefault();
  forgive();
  if (missing()) return;
  const mine = ++turn;
  $("ask").disabled = true;
  try {
    const response = await fetch("/v1/lookups", {
      method: "POST", cache: "no-store", headers: { "Content-Type": "application/json" }, body: JSON.stringify(question()),
    });
    const body = await response.json();
    if (mine !== turn) return;
    if (response.ok) showAnswer(body);
    else showProblem(body);
  } catch {
    if (mine === turn) showProblem({ detail: "The desk does not answer." });
  } finally {
    if (mine === turn) $("ask").disabled = false;
  }
}

function showProblem(problem) {
  const errors = (problem.errors || []).filter((e) => fields[(e.location || "").replace("body.", "")]);
  for (const e of errors) complain(fields[e.location.replace("body.", "")], e.message);
  clear();
  if (errors.length) {
    $(fields[errors[0].location.replace("body.", "")]).focus();
    return;
  }
  $("answer").hidden = false;
  banner("bad", problem.detail || "The look-up failed.");
}

// ---- the answer

let shown = []; // [{row, time}] of the table
let expired = 0;

function clear() {
  shown = [];
  expired = 0;
  $("banners").replaceChildren();
  $("events").replaceChildren();
  $("meta").textContent = "";
  $("table").hidden = $("answer").hidden = true;
}

function banner(kind, text) {
  $("banners").append(make("p", text, "banner " + kind));
}

const plural = (n, word) => `${n.toLocaleString("en")} ${word}${n === 1 ? "" : "s"}`;

function showAnswer(a) {
  clear();
  $("answer").hidden = false;
  const unique = a.unique_within ? `within ± ${spell(a.unique_within)}` : "";
  if (a.ambiguous) {
    banner("warn", `Ambiguous: ${plural(a.accounts, "account")} match, so none is named. Add the source port` +
      (unique ? `, or lower the tolerance: ${unique} only one account matches.` : " or lower the tolerance."));
  } else if (a.events.length) {
    banner("good", `${plural(a.events.length, "event")} of ${plural(a.accounts, "account")}` + (unique ? `; the account is the only one ${unique}.` : "."));
  } else {
    banner(a.complete && !a.purged ? "good" : "warn", "Nothing was found.");
  }
  if (!a.complete) banner("bad", "Incomplete: something that was stored is missing. What is not shown here may still have happened.");
  if (a.truncated) banner("warn", "There are more events than are shown: ask for a shorter time.");
  for (const p of a.purged || []) banner("warn", `What policy ${p.policy} kept from before ${utc(p.before, 0)} UTC has been purged and can't be read by anyone.`);
  for (const e of a.events) showEvent(e);
  $("table").hidden = !a.events.length;
  $("meta").textContent = `Receipt ${a.receipt} · ${utc(a.from, 0)} to ${utc(a.to, 0)} UTC`;
  $("answer-title").focus();
}

function showEvent(e) {
  const row = make("tr");
  const port = e.port === undefined ? "" : e.port_end === undefined ? String(e.port) : `${e.port}–${e.port_end}`;
  const details = [e.transport, e.client, e.outcome].filter(Boolean).join(" · ");
  row.append(
    make("td", utc(e.time)), make("td", e.account, "mono"), make("td", e.ip, "mono"), make("td", port), make("td", e.event),
    make("td", e.server || ""), make("td", e.session || "", "mono"), make("td", e.since ? utc(e.since, 0) : ""), make("td", details));
  $("events").append(row);
  shown.push({ row, time: Date.parse(e.time) });
}

// expire takes rows off the screen: nothing outlives its window, not even here.
function expire() {
  const limit = now() - longestWindow;
  const before = expired;
  shown = shown.filter(({ row, time }) => {
    row.className = time <= limit + 2000 ? "going" : "";
    if (time > limit) return true;
    row.remove();
    expired++;
    return false;
  });
  if (expired === before) return;
  let note = $("expired");
  if (!note) {
    note = make("p", "", "banner warn");
    note.id = "expired";
    $("banners").append(note);
  }
  note.textContent = `${plural(expired, "event")} reached the end of the window and left this page.`;
  $("table").hidden = !shown.length;
}

// ---- start

for (const radio of document.querySelectorAll("input[name=kind]")) radio.addEventListener("change", chooseKind);
$("lookup").addEventListener("submit", ask);
$("clear").addEventListener("click", () => { clear(); $("subject").focus(); });
$("now").addEventListener("click", () => { $("at").value = new Date(now()).toISOString(); $("at").focus(); });
document.addEventListener("keydown", (event) => {
  if (event.key === "/" && !/^(INPUT|SELECT)$/.test(document.activeElement.tagName)) {
    event.preventDefault();
    $("subject").focus();
  }
});
addEventListener("pagehide", () => { clear(); $("lookup").reset(); });

async function tick() {
  await readRetention();
  drawRetention();
  expire();
  $("clock").textContent = utc(now(), 0) + " UTC";
  setTimeout(tick, 1000 - (Date.now() % 1000));
}
chooseKind();
tick();
