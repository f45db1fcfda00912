"use strict";
for (const place of document.querySelectorAll(".origin")) place.textContent = location.origin;
for (const place of document.querySelectorAll(".port")) place.textContent = location.port || (location.protocol === "https:" ? "443" : "80");
for (const place of document.querySelectorAll(".host")) place.textContent = location.hostname;
const form = document.querySelector("form"), answer = document.getElementById("answer"), status = document.getElementById("status");
form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const button = form.querySelector("button"), key = document.getElementById("key");
  const headers = { "Content-Type": "application/json" };
  if (key && key.value) headers["Authorization"] = "Bearer " + key.value.trim();
  button.disabled = true;
  status.textContent = "Asking…";
  answer.hidden = true;
  const began = performance.now();
  try {
    const reply = await fetch("/invocations", { method: "POST", headers, body: document.getElementById("body").value });
    const text = await reply.text();
    status.textContent = `Status ${reply.status} after ${Math.round(performance.now() - began)} ms`;
    try { answer.textContent = JSON.stringify(JSON.parse(text), null, 2); } catch { answer.textContent = text; }
    answer.hidden = false;
  } catch (error) {
    status.textContent = "The server did not answer: " + error.message;
  }
  button.disabled = false;
});
