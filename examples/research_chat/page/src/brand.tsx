export function Brand() {
  return (
    <span className="brand">
      <svg viewBox="0 0 40 16" aria-hidden="true">
        <path d="M1 8h23" />
        <circle cx="31" cy="8" r="6" />
      </svg>
      Midstream
    </span>
  );
}
