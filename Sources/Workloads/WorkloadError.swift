// Why a load could not be run at all. What goes wrong during a run is in its result.

package struct WorkloadError: Error, Sendable, Equatable, CustomStringConvertible {
  package enum Code: String, Sendable {
    /// What was asked for cannot be done.
    case badOptions
    /// An endpoint did not answer at the start.
    case unreachable
    /// It was stopped before it began.
    case interrupted
    /// This machine refused something that the generator needs.
    case system
  }

  package var code: Code
  /// What was wrong, what was seen and what to do, in one line.
  package var message: String

  package init(_ code: Code, _ message: String) {
    self.code = code
    self.message = message
  }

  package var description: String { message }
}
