// Loads the page anew when a file that emails are made of has changed.
const { version } = document.currentScript.dataset;
setInterval(async () => {
  try {
    const found = await (await fetch("/version")).json();
    if (found.version !== version) location.reload();
  } catch { /* it may be started again */ }
}, 1000);
