"""HTTP/1.1 on the wire: connections, their limits, what ends them, and how answers leave."""
