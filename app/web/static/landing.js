// What the landing page does beyond its forms: it counts down, fills live and copies. Without it the page is whole.
"use strict";

const main = document.querySelector("main");
const chinese = main.dataset.lang.startsWith("zh");

function show(selector, key, value) {
  for (const node of document.querySelectorAll(selector)) {
    node.hidden = !node.dataset[key].split(" ").includes(value);
  }
}

function set(name, value) {
  for (const node of document.querySelectorAll(`[data-field="${name}"]`)) node.textContent = value;
}

function money(amount) {
  const format = new Intl.NumberFormat(main.dataset.lang, { style: "currency", currency: main.dataset.currency });
  return format.format(amount / 10 ** format.resolvedOptions().maximumFractionDigits);
}

// The server's clock counts: that of a phone may be wrong.
const clocks = [...document.querySelectorAll("time[data-now]")].map((node) => ({
  node,
  end: Date.parse(node.dateTime) + Date.now() - Date.parse(node.dataset.now),
}));

function countDown() {
  for (const { node, end } of clocks) {
    const seconds = Math.max(0, Math.ceil((end - Date.now()) / 1000));
    const days = Math.floor(seconds / 86400);
    const two = (number) => String(number).padStart(2, "0");
    const time = `${two(Math.floor(seconds / 3600) % 24)}:${two(Math.floor(seconds / 60) % 60)}:${two(seconds % 60)}`;
    node.textContent = days ? `${days}${chinese ? " 天 " : " d "}${time}` : time;
  }
}

if (clocks.length) {
  countDown();
  setInterval(countDown, 1000);
}

function draw(seat, node, free) {
  const before = node.className;
  const you = node.dataset.number === main.dataset.seat ? " you" : "";
  node.className = seat ? (seat.paid ? "paid" : "held") + you : "free";
  if (seat && before.startsWith("free")) node.classList.add("new");
  node.querySelector(".face").textContent = seat ? Array.from(seat.name)[0] : "+";
  // Its own name the page has from the server; the stream, which is for everybody, masks it.
  if (!(you && seat)) node.querySelector(".name").textContent = seat ? seat.name : free;
}

function fill(group) {
  const seats = new Map(group.members.map((seat) => [String(seat.number), seat]));
  const free = document.querySelector("[data-free]").dataset.free;
  for (const node of document.querySelectorAll(".seats [data-number]")) draw(seats.get(node.dataset.number), node, free);
  document.querySelector(".group").dataset.state = group.state;
  document.querySelector(".group progress").value = group.held + group.paid + group.covered + group.extra;
  set("left", group.left);
  set("taken", group.held + group.paid);
  for (const price of group.prices) {
    for (const node of document.querySelectorAll(`[data-price-of="${price.offer_id}"]`)) {
      node.textContent = money(price.price);
    }
    const next = document.querySelector(`[data-next-of="${price.offer_id}"]`);
    if (!next) continue;
    next.hidden = price.heads_to_next === null;
    if (!next.hidden) {
      const withYou = price.heads_to_next === 1 && next.dataset.in === undefined;
      for (const node of next.querySelectorAll("[data-next]")) node.hidden = (node.dataset.next === "you") !== withYou;
      set("heads", price.heads_to_next);
      set("next-price", money(price.next_price));
    }
  }
  show("[data-when]", "when", group.state);
  const own = document.querySelector("[data-own]");
  const mine = seats.get(main.dataset.seat);
  if (own && ["held", "paid", "confirmed"].includes(own.dataset.own)) {
    if (mine && mine.paid) own.dataset.own = group.state === "succeeded" ? "confirmed" : "paid";
    if (group.state === "failed") own.dataset.own = "refunding";
    show("[data-own-when]", "ownWhen", own.dataset.own);
  }
}

if (main.dataset.group) {
  const live = new EventSource(`/v1/groups/${main.dataset.group}/live`);
  const types = [
    "group.opened", "group.filled", "group.reopened", "group.leader_changed", "group.succeeded", "group.failed",
    "group.merged", "group.extended", "seat.moved", "seat.held", "seat.paid", "seat.released",
  ];
  live.addEventListener("snapshot", (event) => fill(JSON.parse(event.data)));
  for (const type of types) live.addEventListener(type, (event) => fill(JSON.parse(event.data).group));
  const first = document.querySelector(".group").dataset.state;
  live.addEventListener("end", (event) => {
    live.close();
    // Where it went on is for the server to say; not to everybody at once.
    if (first !== "merged" && JSON.parse(event.data).state === "merged") {
      setTimeout(() => location.reload(), Math.random() * 3000);
    }
  });
  addEventListener("pagehide", () => live.close());
}

for (const button of document.querySelectorAll("[data-copies]")) {
  const field = document.getElementById(button.dataset.copies);
  button.hidden = false;
  button.addEventListener("click", async () => {
    field.select();
    try {
      await navigator.clipboard.writeText(field.value);
    } catch {
      document.execCommand("copy");
    }
    button.textContent = button.dataset.done;
  });
}
