// Before anything is drawn: the theme that was chosen here before; otherwise the system's holds.
const chosen = localStorage.getItem("theme");
if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
