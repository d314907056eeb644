// Who a command is to a core that has authentication on, by etcdctl's flags.

import ArgumentParser
import Client
import Commands
import Foundation
import Glibc

struct UserFlags: ParsableArguments {
  @Option(
    name: .customLong("user"),
    help:
      "name[:password], where the core has users; asks for the password if there is none. Environment: PORTCULLIS_USER."
  )
  var user: String?

  @Option(
    name: .customLong("password"),
    help:
      "The password; --user is then the name alone. Others see it in the list of processes: better in PORTCULLIS_PASSWORD."
  )
  var password: String?

  /// - Throws: when a password is wanted and nobody can be asked for it.
  func credentials() throws -> Credentials? {
    guard let text = user ?? ConnectionOptions.environment(Credentials.Variable.user) else {
      if password != nil { throw ValidationError("--password needs --user") }
      return nil
    }
    if let password = password ?? ConnectionOptions.environment(Credentials.Variable.password) {
      return try Self.credentials(text, password)
    }
    guard let colon = text.firstIndex(of: ":") else { return try Self.credentials(text, try Self.ask(text)) }
    return try Self.credentials(String(text[..<colon]), String(text[text.index(after: colon)...]))
  }

  private static func credentials(_ name: String, _ password: String) throws -> Credentials {
    guard !name.isEmpty else { throw ValidationError("--user is name or name:password, and there is no name") }
    return Credentials(user: name, password: password)
  }

  private static func ask(_ name: String) throws -> String {
    guard isatty(STDIN_FILENO) == 1, let text = getpass("Password of \(name): ") else {
      throw ValidationError(
        "there is no password for \(name), and no terminal to ask at: write --user \(name):PASSWORD, or set"
          + " PORTCULLIS_PASSWORD")
    }
    return String(cString: text)
  }
}
