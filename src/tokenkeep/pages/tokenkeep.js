/**
 * Log in and out from a web page, and call APIs with an access token that is always fresh.
 *
 *     import { AuthClient } from "https://auth.example.com/tokenkeep.js";
 *     const auth = new AuthClient({ issuer: "https://auth.example.com" });
 *
 * The access token is in the memory of the page and nowhere else. The refresh token is in a cookie that no script can
 * read. All tabs of an origin share one session: one of them refreshes, and the others are told.
 *
 * One file, without dependencies; it needs no `eval`, and nothing inline.
 */

/** Milliseconds after which a request to the auth server is given up, so that no tab holds up the others for ever. */
const LONGEST_WAIT = 15_000;
/** Milliseconds before its end from which an access token is replaced, or a fifth of its life if that is less. */
const MARGIN = 60_000;
/** Milliseconds within which another tab that has a fresh token has said so. */
const ANSWER_WITHIN = 250;
/** Milliseconds for which a call waits for a new token while the one that is held is still good. */
const PATIENCE = 3_000;
/** Milliseconds for which the auth server is left alone after a failure, where it does not name a time itself. */
const PAUSE = 2_000;

/** Why something was refused or failed: `code` is stable, `message` is for people. */
export class AuthError extends Error {
  /**
   * @param {string} code one of the codes of the auth server, or `logged_out`, `unreachable`.
   * @param {string} message
   * @param {{status?: number, field?: string, retryAfter?: number, cause?: unknown}} [more]
   */
  constructor(code, message, { status, field, retryAfter, cause } = {}) {
    super(message, { cause });
    this.name = "AuthError";
    this.code = code;
    /** The HTTP status, if there was an answer. */
    this.status = status ?? null;
    /** The member of the request that was not acceptable. */
    this.field = field ?? null;
    /** Seconds to wait before another attempt. */
    this.retryAfter = retryAfter ?? null;
  }
}

/**
 * Who is logged in; read from the access token for showing, never for deciding anything.
 *
 * @typedef {{id: string, name: string, role: string}} User
 */

/**
 * A session with one auth server, shared by all tabs of this origin.
 *
 * Sends `change` whenever `user` has changed: by a login or logout in any tab, or because the session is over.
 */
export class AuthClient extends EventTarget {
  #issuer;
  #audience;
  #origins;
  #name;
  #presence;
  #channel;
  /** What is held: undefined until somebody has looked, null when nobody is logged in. */
  #held;
  /** The order of the latest that is known of the session: rises from event to event, in all tabs. */
  #latest = 0;
  #queue = Promise.resolve();
  #failure = null;
  #leave = () => {};
  #answered = () => {};
  #closed = false;

  /**
   * @param {object} options
   * @param {string} options.issuer the address of the auth server, with its path if it has one.
   * @param {string} [options.audience] whom access tokens are for; the auth server itself when left out.
   * @param {string[]} [options.apis] origins that `fetch` may send the access token to. When left out: that of
   *   `audience` if it is an address, else that of `issuer`.
   */
  constructor({ issuer, audience, apis }) {
    super();
    this.#issuer = new URL(issuer).href.replace(/\/$/, "");
    this.#audience = audience;
    this.#origins = new Set((apis ?? [/^https?:/.test(audience ?? "") ? audience : issuer]).map(originOf));
    this.#name = `tokenkeep ${this.#issuer}`;
    this.#presence = `${this.#name} tab ${audience ?? ""}`;
    try {
      this.#channel = new BroadcastChannel(this.#name);
      this.#channel.onmessage = ({ data }) => this.#hear(data ?? {});
    } catch {
      // The browser lacks or refuses it: each tab is by itself.
    }
    this.#join();
    addEventListener("pagehide", this.#hidden);
    addEventListener("pageshow", this.#shown);
  }

  /** Who is logged in as far as this page knows, or null. @returns {User | null} */
  get user() {
    return this.#held?.user ?? null;
  }

  /**
   * Take up the session that the browser may still have; for the start of a page.
   *
   * @returns {Promise<User | null>} who is logged in, or null.
   * @throws {AuthError} the auth server does not answer.
   */
  async restore() {
    if (this.#held === null && !this.#closed) this.#held = undefined;
    try {
      await this.#fresh();
    } catch (error) {
      if (!isLoggedOut(error)) throw error;
    }
    return this.user;
  }

  /**
   * Log in. A session that was open in this browser ends.
   *
   * @param {string} name
   * @param {string} password
   * @param {string} [newPassword] what replaces a temporary password; needed after `password_change_required`.
   * @returns {Promise<User>}
   * @throws {AuthError} refused, such as `invalid_credentials`, or not reached.
   */
  async login(name, password, newPassword) {
    return this.#alone(async () => {
      const answer = await this.#post("/login", { name, password, newPassword, audience: this.#audience });
      return this.#begin(answer, this.#audience);
    });
  }

  /**
   * Log out: the session and its access tokens end, in all tabs. When it fails, the session goes on.
   *
   * @throws {AuthError} the auth server does not answer.
   */
  async logout() {
    await this.#alone(async () => {
      await this.#post("/logout");
      this.#end();
    });
  }

  /**
   * Change the password. All sessions of the account end, on other machines too, and a new one begins here.
   *
   * @param {string} currentPassword
   * @param {string} newPassword
   * @returns {Promise<User>}
   * @throws {AuthError} refused, such as `invalid_credentials` or `invalid_field`, or not reached.
   */
  async changePassword(currentPassword, newPassword) {
    return this.#alone(async () => {
      if (this.#held === null) throw loggedOut();
      // Only a token for the auth server itself opens its own routes, and one that has ended early does not.
      const { accessToken } = await this.#refresh(undefined);
      const answer = await this.#post("/password", { currentPassword, newPassword }, accessToken);
      // Another audience's token comes with the next call. The password is changed, even if that call cannot get one.
      return this.#begin(answer, undefined);
    });
  }

  /**
   * Return an access token that is good for some seconds at least, refreshed if need be.
   *
   * @returns {Promise<string>}
   * @throws {AuthError} `logged_out`, or the auth server does not answer.
   */
  async token() {
    return (await this.#fresh()).token;
  }

  /**
   * Do what `fetch` of the browser does, with the access token; after a 401 once more with a new one.
   *
   * Redirects are errors unless `init.redirect` says otherwise. Nothing is sent as somebody else than who was logged in
   * when it was called. When there is no new token, since the session is over, the 401 is the answer.
   *
   * @param {RequestInfo | URL} input an address of one of the `apis`.
   * @param {RequestInit} [init]
   * @returns {Promise<Response>}
   * @throws {TypeError} an address elsewhere: the token is not sent there. Or what `fetch` throws.
   * @throws {AuthError} `logged_out`, or the auth server does not answer.
   */
  async fetch(input, init) {
    const request = new Request(input, { ...init, redirect: init?.redirect ?? "error" });
    const origin = originOf(request.url);
    if (!this.#origins.has(origin)) {
      throw new TypeError(`${origin} is none of the apis that this AuthClient may send its access token to`);
    }
    const again = request.clone();
    const { user } = this;
    const used = await this.#fresh();
    if (user !== null && user.id !== used.user.id) throw loggedOut("Somebody else is logged in by now");
    const response = await fetch(bearing(request, used.token));
    if (response.status !== 401 || !challenges(response)) return response;
    try {
      await this.#renew(used);
      const held = await this.#fresh();
      return held.user.id === used.user.id ? fetch(bearing(again, held.token)) : response;
    } catch (error) {
      if (isLoggedOut(error)) return response;
      throw error;
    }
  }

  /** Let go of everything; the session goes on in the browser. */
  close() {
    this.#closed = true;
    this.#leave();
    this.#channel?.close();
    removeEventListener("pagehide", this.#hidden);
    removeEventListener("pageshow", this.#shown);
    this.#held = null;
  }

  // -- renewing ----------------------------------------------------------------------------------------------------

  /** Return what is held, renewed if need be. */
  async #fresh() {
    const held = this.#held;
    if (held === null) throw loggedOut();
    if (held === undefined || Date.now() >= held.renewAt) {
      const renewal = this.#renew(held);
      try {
        await (Date.now() + PATIENCE < held?.expiresAt ? Promise.race([renewal, waited(PATIENCE)]) : renewal);
      } catch (error) {
        // Until its very end the old one is as good as ever.
        if (!(Date.now() < this.#held?.expiresAt)) throw error;
      }
    }
    if (this.#held == null) throw loggedOut();
    // Meanwhile somebody may have logged in for another audience.
    return this.#held.token === null ? this.#fresh() : this.#held;
  }

  /** Replace what is held, once for all who ask meanwhile, in this page and in the other tabs. */
  #renew(stale) {
    return this.#alone(async () => {
      if (this.#newer(stale)) return;
      if (performance.now() < this.#failure?.until) throw this.#failure.error;
      if (await this.#told(stale)) return;
      if (this.#held === null) throw loggedOut();
      try {
        const held = this.#read(await this.#refresh(this.#audience));
        this.#hold(held);
        this.#say({ kind: "held", ...held });
      } catch (error) {
        const pause = error.retryAfter === null ? PAUSE : error.retryAfter * 1000;
        if (!isLoggedOut(error)) this.#failure = { error, until: performance.now() + pause };
        throw error;
      }
    });
  }

  async #refresh(audience) {
    for (let attempt = 1; ; attempt++) {
      try {
        return await this.#post("/refresh", { audience });
      } catch (error) {
        // The browser has a newer cookie by now than the one that was sent.
        if (error.code === "invalid_refresh_token" && attempt === 1) continue;
        if (error.code !== "invalid_refresh_token" && error.code !== "no_valid_refresh_token") throw error;
        this.#end();
        throw loggedOut();
      }
    }
  }

  /** Run something while no other tab of this origin does, so that the cookie changes under nobody's hands. */
  async #alone(work) {
    try {
      if (navigator.locks) return await navigator.locks.request(this.#name, work);
    } catch (error) {
      // Where nothing may be stored, a lock is refused, by an error that no work throws: as if there were no locks.
      if (!(error instanceof DOMException)) throw error;
    }
    this.#queue = this.#queue.then(work, work);
    return this.#queue;
  }

  /** Tell whether what is held is fresh, and newer than something. */
  #newer(stale) {
    return Date.now() < this.#held?.renewAt && this.#held.order > (stale?.order ?? 0);
  }

  // -- the session -------------------------------------------------------------------------------------------------

  /** Take up a session that has just begun, with a token for some audience. */
  #begin(answer, audience) {
    const held = this.#read(answer);
    this.#hold(audience === this.#audience ? held : withoutToken(held));
    this.#say({ kind: "began", audience, ...held });
    return held.user;
  }

  #end() {
    const order = this.#next();
    this.#hold(null);
    this.#say({ kind: "ended", order });
  }

  #hold(held) {
    if (this.#closed) return;
    const before = JSON.stringify(this.user);
    Object.freeze(held?.user);
    this.#held = held;
    if (JSON.stringify(this.user) !== before) this.dispatchEvent(new Event("change"));
  }

  #read(answer) {
    const { accessToken, expiresIn } = answer ?? {};
    let claims;
    try {
      claims = claimsOf(accessToken);
    } catch (cause) {
      throw new AuthError("unreachable", "What answers is not the auth server", { cause });
    }
    this.#failure = null;
    const expiresAt = Date.now() + expiresIn * 1000;
    return {
      token: accessToken,
      user: { id: claims.sub, name: claims.name, role: claims.role },
      order: this.#next(),
      renewAt: expiresAt - Math.min(MARGIN, expiresIn * 200),
      expiresAt,
    };
  }

  /** The order of an event that has just happened: its instant, or more where the clock was put back. */
  #next() {
    this.#latest = Math.max(Date.now(), this.#latest + 1);
    return this.#latest;
  }

  // -- the other tabs ----------------------------------------------------------------------------------------------

  /** Be counted among those who could answer; whoever is alone need not wait for answers. */
  #join() {
    const stay = () => this.#closed || new Promise((leave) => (this.#leave = leave));
    navigator.locks?.request(this.#presence, { mode: "shared" }, stay).catch(() => {});
  }

  /** Ask the other tabs for something newer, if there are any, and tell whether one had it. */
  async #told(stale) {
    const { held } = (await navigator.locks?.query().catch(() => null)) ?? { held: [] };
    if (held.filter(({ name }) => name === this.#presence).length < 2) return false;
    const answer = new Promise((resolve) => (this.#answered = resolve));
    this.#say({ kind: "ask" });
    await Promise.race([answer, waited(ANSWER_WITHIN)]);
    return this.#newer(stale);
  }

  #say(message) {
    if (!this.#closed) this.#channel?.postMessage({ audience: this.#audience, ...message });
  }

  #hear({ kind, audience, ...held }) {
    const ours = audience === this.#audience;
    if (kind === "ask") {
      if (ours && Date.now() < this.#held?.renewAt) this.#say({ kind: "held", ...this.#held });
    } else if (kind === "held") {
      // A tab that was asleep answers with what it had, though that session may have ended meanwhile.
      const good = isWhole(held) && Date.now() < held.renewAt && held.order > this.#latest;
      if (ours && good) this.#learn(held, held.order);
    } else if (kind === "began") {
      // A token for another audience is of no use here, but whose session it is holds for all.
      this.#learn(isWhole(held) ? (ours ? held : withoutToken(held)) : undefined, held.order);
    } else if (kind === "ended") {
      this.#learn(null, held.order);
    }
  }

  #learn(held, order) {
    if (Number.isFinite(order)) this.#latest = Math.max(this.#latest, order);
    this.#hold(held);
    this.#answered();
  }

  #hidden = () => this.#leave();

  #shown = ({ persisted }) => {
    // The page comes back as it was left, and has not heard what happened meanwhile.
    if (!persisted) return;
    this.#join();
    if (this.#held === undefined) return;
    if (this.#held !== null) this.#held = withoutToken(this.#held);
    this.restore().catch(() => {});
  };

  // -- the auth server ---------------------------------------------------------------------------------------------

  async #post(path, body, token) {
    const headers = body === undefined ? {} : { "Content-Type": "application/json" };
    if (token !== undefined) headers.Authorization = `Bearer ${token}`;
    let response;
    try {
      response = await fetch(this.#issuer + path, {
        method: "POST",
        headers,
        body: JSON.stringify(body),
        credentials: "include",
        redirect: "error",
        signal: AbortSignal.timeout(LONGEST_WAIT),
      });
      if (response.ok) return await response.json();
    } catch (cause) {
      throw new AuthError("unreachable", "The auth server cannot be reached", { cause });
    }
    const problem = (await response.json().catch(() => null)) ?? {};
    const seconds = Number.parseInt(response.headers.get("Retry-After") ?? "", 10);
    throw new AuthError(problem.code ?? "unreachable", problem.error ?? "The auth server cannot be reached", {
      status: response.status,
      field: problem.field,
      retryAfter: Number.isNaN(seconds) ? undefined : seconds,
    });
  }
}

/** Tell whether all is there that is held of a session: another tab may run another version of this file. */
function isWhole({ token, user, order, renewAt, expiresAt }) {
  const texts = [token, user?.id].every((text) => typeof text === "string");
  return texts && [order, renewAt, expiresAt].every(Number.isFinite);
}

/** Return what is known of a session without a token that could be used. */
function withoutToken(held) {
  return { ...held, token: null, renewAt: 0, expiresAt: 0 };
}

function waited(milliseconds) {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}

function originOf(address) {
  const { origin, protocol } = new URL(address);
  if (protocol !== "https:" && protocol !== "http:") throw new TypeError(`${address} is no address of an API`);
  return origin;
}

function bearing(request, token) {
  request.headers.set("Authorization", `Bearer ${token}`);
  return request;
}

/** Tell whether a 401 is about the access token; of a header that this page may not read it is assumed. */
function challenges(response) {
  return /(^|,\s*)Bearer\b/i.test(response.headers.get("WWW-Authenticate") ?? "Bearer");
}

function loggedOut(message = "Nobody is logged in") {
  return new AuthError("logged_out", message);
}

function isLoggedOut(error) {
  return error.code === "logged_out";
}

function claimsOf(token) {
  const text = atob(token.split(".")[1].replaceAll("-", "+").replaceAll("_", "/"));
  return JSON.parse(new TextDecoder().decode(Uint8Array.from(text, (character) => character.charCodeAt(0))));
}
