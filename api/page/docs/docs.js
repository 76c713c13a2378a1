// Swagger UI over this server's own document; the token that the page has been given is used here too.
"use strict";

const chosen = localStorage.getItem("theme");
const system = matchMedia("(prefers-color-scheme: dark)");
const paint = () => document.documentElement.classList.toggle("dark-mode", chosen ? chosen === "dark" : system.matches);
system.addEventListener("change", paint);
paint();

const ui = SwaggerUIBundle({
  url: "/v1/openapi.json",
  dom_id: "#swagger-ui",
  deepLinking: true,
  // The default one asks another server.
  validatorUrl: null,
  onComplete: () => {
    const token = sessionStorage.getItem("token");
    if (token) ui.preauthorizeApiKey("token", token);
  },
});
