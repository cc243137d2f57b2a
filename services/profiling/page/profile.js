"use strict";
// What every browser shows as a tooltip after a while is shown at once, and to a finger as well.
for (const figure of document.querySelectorAll(".timeline")) {
  const tip = figure.querySelector(".tip");
  const circles = figure.querySelectorAll("circle");
  const show = (circle) => {
    for (const other of circles) other.classList.toggle("shown", other === circle);
    tip.hidden = circle === null;
    if (circle === null) return;
    tip.textContent = circle.getAttribute("aria-label");
    const left = (parseFloat(circle.getAttribute("cx")) / 100) * (figure.clientWidth - tip.offsetWidth);
    tip.style.left = `${left}px`;
    tip.style.top = `${figure.querySelector("svg").offsetTop + circle.getBBox().y + 14}px`;
  };
  for (const circle of circles) {
    circle.querySelector("title").remove();
    circle.addEventListener("pointerenter", () => show(circle));
    circle.addEventListener("pointerleave", (event) => event.pointerType === "mouse" && show(null));
  }
}
