// Why a call of the library failed: a code to decide by, and a text for people.

import FencingCore

/// Why a ``FencedFile`` did not do what it was asked.
public struct FencedFileError: Error, Sendable, Hashable, CustomStringConvertible {
  /// What to decide by.
  public enum Code: Sendable, Hashable, CaseIterable {
    /// The file could not be put under protection.
    case open
    /// The key set is none.
    case keys
    /// The token is not one that a trusted key has signed for now.
    case token
    /// The token is stale, or of another scope or cluster: stop acting on its grant.
    case refused
    /// SQLite, or the rules of the fence, did not take a statement. Nothing of the request was done.
    case statement
    /// Too much waits, or another program holds the file: try again.
    case busy
    /// It ran longer than a request may.
    case timedOut
    /// The key belongs to another request, or its answer is no longer kept.
    case key
    /// The file's floor is behind its copy, as after an older file was put back: see docs/operations.md.
    case scopeClosed
    /// The disk is full. Nothing of the request was done; send it again when there is room.
    case diskFull
    /// The disk failed. No write is taken until the file is opened again.
    case failed
    /// The file was closed by ``FencedFile/close()``.
    case closed
  }

  /// What to decide by.
  public let code: Code
  /// What was seen and, for a refusal, what was presented. Names no path but with ``Code/open``.
  public let description: String

  init(_ code: Code, _ description: String) {
    self.code = code
    self.description = description
  }

  init(_ failure: RequestFailure) {
    switch failure {
    case .refused(let refusal): self.init(.refused, "\(refusal)")
    case .sharedToken(let scope): self.init(.refused, "the token of scope \"\(scope)\" is shared: it is for reading")
    case .tokenRequired(let scope): self.init(.token, "this needs a token of the scope \"\(scope)\"")
    case .ambiguousClaims(let scope): self.init(.token, "there are several tokens of the scope \"\(scope)\"")
    case .overloaded(let queued): self.init(.busy, "\(queued) requests wait already")
    case .busy(let reason): self.init(.busy, reason)
    case .timedOut(let seconds): self.init(.timedOut, "it ran longer than \(seconds) s and was undone")
    case .keyTaken(let key): self.init(.key, "another request was carried out under the key \"\(key)\"")
    case .answerGone(let key): self.init(.key, "what was done under the key \"\(key)\" is no longer kept")
    case .scopeClosed(let scope):
      self.init(.scopeClosed, "the floor of \"\(scope)\" disagrees with its copy: the file may be an older one")
    case .diskFull(let reason): self.init(.diskFull, reason)
    case .halted(let reason), .storage(let reason): self.init(.failed, reason)
    case .unloadable(let reason): self.init(.statement, reason)
    case .unopened(let error): self.init(.open, error.description)
    case .closed: self.init(.closed, "the file was closed")
    }
  }
}
