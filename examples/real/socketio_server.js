// A Socket.IO server for socketio_client.py:  node examples/real/socketio_server.js 3000
const { Server } = require("socket.io")

// It drops whoever leaves a ping unanswered for 300 ms.
const io = new Server(Number(process.argv[2]), { pingInterval: 300, pingTimeout: 300 })

io.on("connection", (socket) => {
  socket.on("double", (number, answer) => answer(2 * number))
  socket.on("reverse", (bytes, answer) => answer(Buffer.from(bytes).reverse()))
  let number = 0
  const timer = setInterval(() => socket.emit("tick", number++), 50)
  socket.on("disconnect", () => clearInterval(timer))
})
