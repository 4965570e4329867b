// The colour theme: the user's choice, or else the system's preference. A classic script, so that it runs before the first paint.
(() => {
  const system = matchMedia('(prefers-color-scheme: dark)');
  const chosen = () => { try { return localStorage.getItem('fanfare.theme'); } catch { return null; } };
  const show = () => {
    const theme = chosen() ?? (system.matches ? 'dark' : 'light');
    document.documentElement.dataset.theme = theme;
    document.getElementById('theme')?.setAttribute('aria-pressed', String(theme === 'dark'));
  };
  const toggle = () => {
    const next = document.documentElement.dataset.theme === 'dark' ? 'light' : 'dark';
    const system_theme = system.matches ? 'dark' : 'light';
    try {
      // Choosing the system's current theme means following the system again.
      if (next === system_theme) localStorage.removeItem('fanfare.theme');
      else localStorage.setItem('fanfare.theme', next);
    } catch { document.documentElement.dataset.theme = next; return; }
    show();
    dispatchEvent(new Event('themechange'));
  };
  show();
  system.addEventListener('change', show);
  addEventListener('storage', show);
  addEventListener('DOMContentLoaded', () => {
    show();
    document.getElementById('theme').addEventListener('click', toggle);
  });
})();
